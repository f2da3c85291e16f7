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

SMALLEST, LARGEST = 2.0**-100, 2.0**90
"""Smallest and largest slope: with words of 32 bits, values are within float32's range and not rounded to zero."""


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
    try:
        slope, intercept = _scale(file, frame)
    except Damaged as error:
        raise Damaged(f"in frame {index + 1} {error}" if file.frames > 1 else str(error)) from error
    number = decimals_of(file.header, "InstanceNumber")
    return Slice(
        **vars(plane),
        file=file,
        frame=index,
        number=tile.number if tile else index if file.frames > 1 else int(number[0]) if number else 0,
        slope=slope,
        intercept=intercept,
        tile=tile,
    )


def _scale(file: DicomFile, frame: FrameElements) -> tuple[float, float]:
    """Reads slope and intercept; 1 and 0 where they are absent or empty.

    Source: DICOM PS3.3, C.7.6.16.2.9 (pixel value transformation), C.8.8.3.2 (dose grid scaling).

    Raises
    ------
    Damaged
        A number scales no stored value to a value that float32 holds: a slope of 0 gives all pixels one value.
    """
    slope, keyword = frame.numbers("PixelValueTransformationSequence", "RescaleSlope"), "RescaleSlope"
    if not slope:
        slope, keyword = decimals_of(file.header, "DoseGridScaling"), "DoseGridScaling"
    intercept = frame.numbers("PixelValueTransformationSequence", "RescaleIntercept")
    scale = _number(slope, 1.0, keyword), _number(intercept, 0.0, "RescaleIntercept")
    if not SMALLEST <= abs(scale[0]) <= LARGEST:
        raise Damaged(f"{keyword} {scale[0]:g}, expected a number that scales pixels")
    if abs(scale[1]) > LARGEST:
        raise Damaged(f"RescaleIntercept {scale[1]:g}, expected a number that shifts pixels")
    return scale


def _number(numbers: list[float], otherwise: float, keyword: str) -> float:
    if not numbers:
        return otherwise
    if len(numbers) > 1 or not np.isfinite(numbers[0]):
        raise Damaged(f"{keyword} {numbers[0]:g} of {len(numbers)} values, expected one finite number")
    return numbers[0]
