"""Where a frame of a DICOM file lies in the patient, as the file says it: nothing is assumed here. Millimetres, LPS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from fedmed_transforms.damage import Damaged, said
from fedmed_transforms.dicom_file import DicomFile

Vector: TypeAlias = npt.NDArray[np.float64]

MOST_FRAMES = 100_000
"""Frames that a file may have, each of at least a bit: the plane of each is held before any is read."""

UNIT_TOLERANCE = 1e-3
"""How far direction cosines may be from unit length and from a right angle, as scanners round them."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One frame and its plane; what the file does not say is None.

    Attributes
    ----------
    file, frame
        The file and the frame's index in it.
    number
        InstanceNumber, or the frame's index in a file of several.
    position
        Centre of the first pixel, (3,), mm, LPS.
    directions
        Along a row, and along a column: (2, 3) unit vectors, LPS.
    spacing
        Between columns (along x), and between rows (along y), (2,), mm.
    slope, intercept
        From stored values to the modality's.
    thickness
        SpacingBetweenSlices, or SliceThickness where that is missing, mm.
    """

    file: DicomFile
    frame: int
    number: int
    position: Vector | None
    directions: Vector | None
    spacing: Vector | None
    slope: float
    intercept: float
    thickness: float | None

    @property
    def name(self) -> str:
        """The file, and the frame where it has several."""
        return f"{self.file.name} frame {self.frame + 1}" if self.file.frames > 1 else self.file.name

    @property
    def normal(self) -> Vector:
        """Unit vector across the plane, (3,), LPS."""
        assert self.directions is not None
        return np.cross(self.directions[0], self.directions[1])


def read_slices(file: DicomFile) -> list[Slice]:
    """The frames of a file, each with its plane, from the frame's own functional groups, the shared ones or the header.

    Source: DICOM PS3.3, C.7.6.2 (image plane), C.7.6.16 (functional groups), C.8.8.3.2 (dose grid).

    Raises
    ------
    ValueError
        An element is there but says nothing usable; the message names the file and the element.
    """
    try:
        most = min(MOST_FRAMES, 8 * file.held)
        if file.frames > most:
            raise Damaged(f"a NumberOfFrames of more than {most}")
        groups = list(file.header.get("PerFrameFunctionalGroupsSequence") or [])
        if groups and len(groups) != file.frames:
            raise Damaged(f"{file.frames} frames, but functional groups for {len(groups)}")
        offsets = _dose_offsets(file)
        return [_read_slice(file, frame, groups, offsets) for frame in range(file.frames)]
    except Exception as error:  # a damaged sequence raises a dozen kinds
        raise ValueError(f"{file.name}: expected a readable image plane, found {said(error)}") from error


def _read_slice(file: DicomFile, frame: int, groups: list[Dataset], offsets: list[float] | None) -> Slice:
    def find(sequence: str, keyword: str) -> Any:
        return _find(file.header, groups[frame] if groups else None, sequence, keyword)

    position = _numbers(find("PlanePositionSequence", "ImagePositionPatient"), 3, "ImagePositionPatient")
    cosines = _numbers(find("PlaneOrientationSequence", "ImageOrientationPatient"), 6, "ImageOrientationPatient")
    directions = None if cosines is None else _unit(cosines.reshape(2, 3))
    if offsets is not None and position is not None and directions is not None:
        position = position + offsets[frame] * np.cross(directions[0], directions[1])
    elif position is not None and file.frames > 1 and not groups:
        position = None  # the header's position is that of the first frame alone
    spacing = _numbers(find("PixelMeasuresSequence", "PixelSpacing"), 2, "PixelSpacing")
    if spacing is not None and not (spacing > 0).all():
        raise Damaged(f"PixelSpacing {spacing.tolist()}, expected positive millimetres")
    slope = find("PixelValueTransformationSequence", "RescaleSlope")
    return Slice(
        file=file,
        frame=frame,
        number=frame if file.frames > 1 else int(file.header.get("InstanceNumber") or 0),
        position=position,
        directions=directions,
        spacing=None if spacing is None else spacing[::-1].copy(),
        slope=_number(file.header.get("DoseGridScaling") if slope is None else slope, 1.0, "RescaleSlope"),
        intercept=_number(find("PixelValueTransformationSequence", "RescaleIntercept"), 0.0, "RescaleIntercept"),
        thickness=_thickness(find),
    )


def _find(header: Dataset, group: Dataset | None, sequence: str, keyword: str) -> Any:
    shared = header.get("SharedFunctionalGroupsSequence")
    for place in (group, shared[0] if shared else None):
        inner = place.get(sequence) if place is not None else None
        if inner and inner[0].get(keyword) is not None:
            return inner[0].get(keyword)
    return header.get(keyword)


def _thickness(find: Any) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = find("PixelMeasuresSequence", keyword)
        if value is not None and value != "" and abs(float(value)) > 0:
            return abs(float(value))
    return None


def _dose_offsets(file: DicomFile) -> list[float] | None:
    """Where the planes of a dose grid lie along its normal, relative to the first one's position, mm."""
    offsets = file.header.get("GridFrameOffsetVector")
    if offsets is None or isinstance(offsets, str):
        return None
    values = [float(value) for value in (offsets if isinstance(offsets, Sequence) else [offsets])]
    if len(values) != file.frames:
        raise Damaged(f"GridFrameOffsetVector with {len(values)} values, expected {file.frames}")
    return [value - values[0] for value in values]


def _numbers(value: Any, count: int, keyword: str) -> Vector | None:
    if value is None or value == "" or (isinstance(value, Sequence) and not len(value)):
        return None
    numbers = np.asarray([float(part) for part in value], dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise Damaged(f"{keyword} with {numbers.size} values, expected {count} finite numbers")
    return numbers


def _number(value: Any, otherwise: float, keyword: str) -> float:
    if value is None or value == "":
        return otherwise
    number = float(value)
    if not np.isfinite(number):
        raise Damaged(f"{keyword} {number}, expected a finite number")
    return number


def _unit(directions: Vector) -> Vector:
    lengths = np.linalg.norm(directions, axis=1)
    if (abs(lengths - 1) > UNIT_TOLERANCE).any() or abs(directions[0] @ directions[1]) > UNIT_TOLERANCE:
        raise Damaged(f"ImageOrientationPatient {directions.ravel().tolist()}, expected two perpendicular unit vectors")
    return directions / lengths[:, None]
