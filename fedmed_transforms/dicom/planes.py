"""Where a frame of a DICOM file lies in the patient, as the file says it: nothing is assumed here. Millimetres, LPS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged, error_text
from fedmed_transforms.dicom.dicom_file import DicomFile

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
        shared = list(file.header.get("SharedFunctionalGroupsSequence") or [])
        if groups and len(groups) != file.frames:
            raise Damaged(f"{file.frames} frames, but functional groups for {len(groups)}")
        offsets = _dose_offsets(file)
        return [
            _read_slice(file, frame, groups[frame : frame + 1] + shared[:1], offsets) for frame in range(file.frames)
        ]
    except Exception as error:  # a damaged sequence raises a dozen kinds
        raise ValueError(f"{file.name}: expected a readable image plane, found {error_text(error)}") from error


def _read_slice(file: DicomFile, frame: int, groups: list[Dataset], offsets: list[float]) -> Slice:
    def find(sequence: str, keyword: str) -> list[float]:
        return _find(file.header, groups, sequence, keyword)

    position = _vector(find("PlanePositionSequence", "ImagePositionPatient"), 3, "ImagePositionPatient")
    cosines = _vector(find("PlaneOrientationSequence", "ImageOrientationPatient"), 6, "ImageOrientationPatient")
    directions = None if cosines is None else _unit(cosines.reshape(2, 3))
    if offsets and position is not None and directions is not None:
        position = position + offsets[frame] * np.cross(directions[0], directions[1])
    elif file.frames > 1 and "PerFrameFunctionalGroupsSequence" not in file.header:
        position = None  # the header's position is that of the first frame alone
    spacing = _vector(find("PixelMeasuresSequence", "PixelSpacing"), 2, "PixelSpacing")
    if spacing is not None and not (spacing > 0).all():
        raise Damaged(f"PixelSpacing {spacing.tolist()}, expected positive millimetres")
    slope = find("PixelValueTransformationSequence", "RescaleSlope") or decimals_of(file.header, "DoseGridScaling")
    number = decimals_of(file.header, "InstanceNumber")
    return Slice(
        file=file,
        frame=frame,
        number=frame if file.frames > 1 else int(number[0]) if number else 0,
        position=position,
        directions=directions,
        spacing=None if spacing is None else spacing[::-1].copy(),
        slope=_number(slope, 1.0, "RescaleSlope"),
        intercept=_number(find("PixelValueTransformationSequence", "RescaleIntercept"), 0.0, "RescaleIntercept"),
        thickness=_thickness(find),
    )


def _find(header: Dataset, groups: list[Dataset], sequence: str, keyword: str) -> list[float]:
    for group in groups:
        inner = group.get(sequence)
        if inner and (values := decimals_of(inner[0], keyword)):
            return values
    return decimals_of(header, keyword)


def decimals_of(holder: Dataset, keyword: str) -> list[float]:
    """The numbers of an element of decimal or integer strings; none where it is absent or empty.

    Read from the element's own text: the parser's conversion to decimals takes longer than all the rest of a header.
    """
    element = holder.get_item(keyword)
    value = None if element is None else element.value
    if isinstance(value, bytes) and element.VR in ("DS", "IS"):
        parts: Any = value.decode("ascii").strip(" \0").split("\\")
    else:
        value = holder.get(keyword)
        parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    numbers = [float(part) for part in parts if part not in (None, "")]
    return numbers if len(numbers) == len(parts) else []


def _thickness(find: Callable[[str, str], list[float]]) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        values = find("PixelMeasuresSequence", keyword)
        if values and abs(values[0]) > 0:
            return abs(values[0])
    return None


def _dose_offsets(file: DicomFile) -> list[float]:
    """Where the planes of a dose grid lie along its normal, relative to the first one's position, mm."""
    values = decimals_of(file.header, "GridFrameOffsetVector")
    if values and len(values) != file.frames:
        raise Damaged(f"GridFrameOffsetVector with {len(values)} values, expected {file.frames}")
    return [value - values[0] for value in values]


def _vector(numbers: list[float], count: int, keyword: str) -> Vector | None:
    if not numbers:
        return None
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise Damaged(f"{keyword} with {len(numbers)} values, expected {count} finite numbers")
    return np.asarray(numbers, dtype=np.float64)


def _number(numbers: list[float], otherwise: float, keyword: str) -> float:
    if not numbers:
        return otherwise
    if not np.isfinite(numbers[0]):
        raise Damaged(f"{keyword} {numbers[0]}, expected a finite number")
    return numbers[0]


def _unit(directions: Vector) -> Vector:
    lengths = np.linalg.norm(directions, axis=1)
    if (abs(lengths - 1) > UNIT_TOLERANCE).any() or abs(directions[0] @ directions[1]) > UNIT_TOLERANCE:
        raise Damaged(f"ImageOrientationPatient {directions.ravel().tolist()}, expected two perpendicular unit vectors")
    return directions / lengths[:, None]


def frames_of(header: Dataset) -> list[list[Dataset]]:
    """Where the elements of each frame are found: its own functional groups, the shared ones, and the image."""
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    if "PerFrameFunctionalGroupsSequence" in header:
        return [[frame, *shared] for frame in header.PerFrameFunctionalGroupsSequence]
    return [[*shared, header]] * int(header.get("NumberOfFrames") or 1)


def frame_element(frame: Sequence[Dataset], sequence: str, keyword: str) -> Any:
    """An element of a frame, from the first place that has it; None if none has."""
    for group in frame:
        for holder in (group.get(sequence) or [group])[:1]:
            if holder.get(keyword) not in (None, ""):
                return holder[keyword].value
    return None
