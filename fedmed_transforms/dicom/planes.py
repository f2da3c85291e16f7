"""Reads the plane of each frame of a DICOM image. Millimetres, LPS.

Images, segmentations and the sources of results all take their geometry from here. Nothing is assumed: an element that
the file does not state is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged, error_text
from fedmed_transforms.dicom.dicom_file import frame_count

Vector: TypeAlias = npt.NDArray[np.float64]

MOST_FRAMES = 100_000
"""Frames that a file may have; the planes of all of them are in memory at once."""

UNIT_TOLERANCE = 1e-3
"""Largest scalar product of two directions of unit length, as scanners round them."""

LENGTH_TOLERANCE = 1e-2
"""Largest deviation of direction cosines from unit length.

Rounding to two decimals changes each cosine by at most 0.005, and the length by at most 0.005 times the sum of the
magnitudes of the three cosines, so by at most 0.0087. The length is made 1; the directions keep their angle.
"""


@dataclass(frozen=True, eq=False)
class FramePlane:
    """The plane of one frame; an element that the file does not state is None.

    Attributes
    ----------
    position
        Centre of the first pixel, (3,), mm, LPS.
    directions
        Along a row, and along a column: (2, 3) unit vectors, LPS. They are as perpendicular as the file states them.
    spacing
        Between columns (along x), and between rows (along y), (2,), mm.
    thickness
        SliceThickness, mm.
    slice_spacing
        SpacingBetweenSlices, mm.
    """

    position: Vector | None
    directions: Vector | None
    spacing: Vector | None
    thickness: float | None
    slice_spacing: float | None

    @property
    def normal(self) -> Vector:
        """Unit vector across the plane, (3,), LPS."""
        assert self.directions is not None
        return np.cross(self.directions[0], self.directions[1])


@dataclass(frozen=True, eq=False)
class FrameElements:
    """The elements of one frame: those of its functional groups, and those of the header.

    Attributes
    ----------
    header
        The whole header.
    groups
        The frame's own functional groups, then the shared ones; an element is taken from the first that has it.
    """

    header: Dataset
    groups: list[Dataset]

    def numbers(self, sequence: str, keyword: str) -> list[float]:
        """Reads the numbers of an element of a functional group; an empty list where no group and no header has it."""
        for group in self.groups:
            inner = group.get(sequence)
            if inner and (values := decimals_of(inner[0], keyword)):
                return values
        return decimals_of(self.header, keyword)

    def length(self, sequence: str, keyword: str) -> float | None:
        """Reads a length in mm without its sign; None where it is absent, zero or not finite."""
        values = self.numbers(sequence, keyword)
        return abs(values[0]) if values and 0 < abs(values[0]) < inf else None


@contextmanager
def readable_plane(name: str) -> Iterator[None]:
    """Turns any error in the block into a ValueError that names the file and quotes nothing of it."""
    try:
        yield
    except Exception as error:  # a damaged sequence raises a dozen kinds
        raise ValueError(f"{name}: expected a readable image plane, found {error_text(error)}") from None


def frame_elements(header: Dataset) -> list[FrameElements]:
    """Finds the elements of every frame of a header.

    Source: DICOM PS3.3, C.7.6.16 (functional groups).

    Raises
    ------
    Damaged
        There are too many frames, or functional groups for another number of them.
    """
    frames = frame_count(header)
    if frames > MOST_FRAMES:
        raise Damaged(f"a NumberOfFrames of more than {MOST_FRAMES}")
    groups = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    if groups and len(groups) != frames:
        raise Damaged(f"{frames} frames, but functional groups for {len(groups)}")
    return [FrameElements(header, groups[frame : frame + 1] + shared[:1]) for frame in range(frames)]


def read_planes(frames: Sequence[FrameElements]) -> list[FramePlane]:
    """Reads the planes of all frames of a header.

    Source: DICOM PS3.3, C.7.6.2 (image plane), C.8.8.3.2 (dose grid).

    Raises
    ------
    Damaged
        An element is present but not usable; the message names the element.
    """
    offsets = _dose_offsets(frames[0].header, len(frames))
    return [_read_plane(frame, len(frames), offsets[index : index + 1]) for index, frame in enumerate(frames)]


def _read_plane(frame: FrameElements, frames: int, offset: list[float]) -> FramePlane:
    position = _vector(frame.numbers("PlanePositionSequence", "ImagePositionPatient"), 3, "ImagePositionPatient")
    stated = frame.numbers("PlaneOrientationSequence", "ImageOrientationPatient")
    cosines = _vector(stated, 6, "ImageOrientationPatient")
    directions = None if cosines is None else _unit(cosines.reshape(2, 3))  # (6,) -> (2, 3)
    if offset and position is not None and directions is not None:
        position = position + offset[0] * np.cross(directions[0], directions[1])
    elif frames > 1 and "PerFrameFunctionalGroupsSequence" not in frame.header:
        position = None  # the header's position is that of the first frame alone
    spacing = _vector(frame.numbers("PixelMeasuresSequence", "PixelSpacing"), 2, "PixelSpacing")
    if spacing is not None and not (spacing > 0).all():
        raise Damaged(f"PixelSpacing {spacing.tolist()}, expected positive millimetres")
    return FramePlane(
        position=position,
        directions=directions,
        spacing=None if spacing is None else spacing[::-1].copy(),
        thickness=frame.length("PixelMeasuresSequence", "SliceThickness"),
        slice_spacing=frame.length("PixelMeasuresSequence", "SpacingBetweenSlices"),
    )


def decimals_of(holder: Dataset, keyword: str) -> list[float]:
    """Reads the numbers of an element of decimal or integer strings; an empty list where it is absent or empty.

    They are read from the element's own text: the parser's conversion to decimals takes longer than the whole rest of a
    header.
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


def _dose_offsets(header: Dataset, frames: int) -> list[float]:
    """Reads the distances of a dose grid's planes from the first, in mm; an empty list for other images."""
    values = decimals_of(header, "GridFrameOffsetVector")
    if values and len(values) != frames:
        raise Damaged(f"GridFrameOffsetVector with {len(values)} values, expected {frames}")
    return [value - values[0] for value in values]


def _vector(numbers: list[float], count: int, keyword: str) -> Vector | None:
    if not numbers:
        return None
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise Damaged(f"{keyword} with {len(numbers)} values, expected {count} finite numbers")
    return np.asarray(numbers, dtype=np.float64)


def _unit(directions: Vector) -> Vector:
    lengths = np.linalg.norm(directions, axis=1)
    if (abs(lengths - 1) <= LENGTH_TOLERANCE).all():
        unit = directions / lengths[:, None]
        if abs(unit[0] @ unit[1]) <= UNIT_TOLERANCE:
            return unit
    raise Damaged(f"ImageOrientationPatient {directions.ravel().tolist()}, expected two perpendicular unit vectors")
