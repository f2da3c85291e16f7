"""Reads the slices of a DICOM file: its frames, each with its plane and the scale of its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.dicom_file import DicomFile
from fedmed_transforms.dicom.frame_positions import read_frame_planes
from fedmed_transforms.dicom.mosaic.find import find_slices
from fedmed_transforms.dicom.mosaic.private_elements import read_whole_header
from fedmed_transforms.dicom.mosaic.tiles import Tile
from fedmed_transforms.dicom.planes import (
    MOST_FRAMES,
    FrameElements,
    FramePlane,
    decimals_of,
    frame_elements,
    readable_plane,
)


@dataclass(frozen=True, eq=False)
class Slice(FramePlane):
    """One frame of a file with its plane, or one slice of a frame that holds several.

    Attributes
    ----------
    file, frame
        The file and the frame's index in it.
    number
        InstanceNumber, or the index of the frame or of the slice in a file of several.
    slope, intercept
        From stored values to the modality's.
    tile
        The part of the frame that shows this slice; None where it is the whole frame.
    """

    file: DicomFile
    frame: int
    number: int
    slope: float
    intercept: float
    tile: Tile | None = None

    @property
    def name(self) -> str:
        """The file, and the frame or the slice where it has several."""
        if self.tile is not None:
            return f"{self.file.name} slice {self.tile.number + 1}"
        return f"{self.file.name} frame {self.frame + 1}" if self.file.frames > 1 else self.file.name


def read_slices(file: DicomFile) -> list[Slice]:
    """Reads the frames of a file, each with its plane; of a picture that holds the slices of a volume, each slice.

    Raises
    ------
    ValueError
        An element is present but not usable; the message names the file and the element.
    """
    with readable_plane(file.name):
        most = min(MOST_FRAMES, 8 * file.held)  # a frame has at least a bit
        if file.frames > most:
            raise Damaged(f"a NumberOfFrames of more than {most}")
        frames = frame_elements(file.header)
        planes = read_frame_planes(frames)
        if len(frames) == 1:
            tiled = find_slices(frames[0], planes[0], lambda: read_whole_header(file))
            if tiled:
                return [_slice(file, 0, frames[0], item.plane, item.tile) for item in tiled]
        return [_slice(file, index, *pair) for index, pair in enumerate(zip(frames, planes, strict=True))]


def _slice(file: DicomFile, index: int, frame: FrameElements, plane: FramePlane, tile: Tile | None = None) -> Slice:
    slope = frame.numbers("PixelValueTransformationSequence", "RescaleSlope")
    slope = slope or decimals_of(file.header, "DoseGridScaling")
    intercept = frame.numbers("PixelValueTransformationSequence", "RescaleIntercept")
    number = decimals_of(file.header, "InstanceNumber")
    return Slice(
        **vars(plane),
        file=file,
        frame=index,
        number=tile.number if tile else index if file.frames > 1 else int(number[0]) if number else 0,
        slope=_number(slope, 1.0, "RescaleSlope"),
        intercept=_number(intercept, 0.0, "RescaleIntercept"),
        tile=tile,
    )


def _number(numbers: list[float], otherwise: float, keyword: str) -> float:
    if not numbers:
        return otherwise
    if not np.isfinite(numbers[0]):
        raise Damaged(f"{keyword} {numbers[0]}, expected a finite number")
    return numbers[0]
