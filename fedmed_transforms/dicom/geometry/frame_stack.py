"""Stacks frames: finds the plane that they share, and the slice on which each of them lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedmed_transforms.dicom.geometry.grid import SAME_POSITION, even_tolerance, is_upright, ras_affine
from fedmed_transforms.dicom.geometry.rounding import LARGEST_PART, rounding_of
from fedmed_transforms.dicom.geometry.stack import SAME_DIRECTION, SAME_SPACING
from fedmed_transforms.dicom.planes import MOST_FRAMES, FramePlane, Vector

NEEDED = {"position": "ImagePositionPatient", "directions": "ImageOrientationPatient", "spacing": "PixelSpacing"}
"""Attributes of a plane without which it lies nowhere, and their elements."""

PAIR = 2
"""A series holds slices that differ from one of them by a tolerance, so two of them differ by at most twice of it."""


@dataclass(frozen=True, eq=False)
class FrameStack:
    """The slices on which frames lie.

    Attributes
    ----------
    slices
        Of each frame the index of its slice, from 0 against the normal, as highdicom stacks them. Several frames may
        lie on one slice, and slices may be without a frame.
    affine
        (4, 4) voxel (column, row, slice) to mm, RAS.
    """

    slices: list[int]
    affine: Vector


def missing_elements(plane: FramePlane) -> list[str]:
    """Lists the elements that a plane lacks to lie in the patient."""
    return [keyword for name, keyword in NEEDED.items() if getattr(plane, name) is None]


def shared_plane(planes: Sequence[FramePlane]) -> FramePlane:
    """Finds the plane that gives all its orientation and spacing: the lowest along the normal, as for loaded images.

    Raises
    ------
    ValueError
        The orientations or the spacings differ by more than the slices of a series may.
    """
    heights = _heights(planes, planes[0])
    lowest = planes[int(heights.argmin())]
    directions = np.array([plane.directions for plane in planes])
    if np.abs(directions - lowest.directions).max() > PAIR * SAME_DIRECTION:
        raise ValueError("expected frames of one ImageOrientationPatient, found several")
    spacings = np.array([plane.spacing for plane in planes])
    if (np.abs(spacings - lowest.spacing) > PAIR * SAME_SPACING * np.asarray(lowest.spacing)).any():
        raise ValueError("expected frames of one PixelSpacing, found several")
    return lowest


def stack_frames(planes: Sequence[FramePlane]) -> FrameStack:
    """Finds the slice of each frame and the grid of the slices.

    The distance between slices is SpacingBetweenSlices, or the smallest distance found where that is not stated. It is
    then fitted to the first and the last slice, so that the affine meets their positions.

    Raises
    ------
    ValueError
        A frame has no plane, the planes are not parallel, or the slices are tilted or not evenly spaced.
    """
    missing = sorted({keyword for plane in planes for keyword in missing_elements(plane)})
    if missing:
        found = f"found some without {', '.join(missing)}"
        raise ValueError(f"expected {', '.join(NEEDED.values())} of every frame, {found}")
    lowest = shared_plane(planes)
    assert lowest.position is not None and lowest.directions is not None and lowest.spacing is not None
    heights = _heights(planes, lowest)
    order = np.argsort(heights, kind="stable")
    distances = heights[order] - heights[order[0]]
    offsets = np.array([planes[index].position for index in order]) - lowest.position
    shifts = offsets @ lowest.directions.T / lowest.spacing  # (frames, 3) -> (frames, 2), pixels
    if not is_upright(shifts, distances, lowest.spacing):
        raise ValueError("expected slices above each other, found slices shifted against the first")
    count, distance = _count_slices(distances, lowest)
    from_lowest = np.rint(distances / distance).astype(int)
    rounded = 2 * float(abs(lowest.normal) @ rounding_of(offsets + lowest.position))
    tolerance = max(even_tolerance(distance), min(rounded, LARGEST_PART * distance))
    if (np.abs(distances - from_lowest * distance) > tolerance).any():
        raise ValueError("expected evenly spaced slices, found distances that are no multiples of one distance")
    step = -offsets[-1] / count if count else -distance * lowest.normal
    affine = ras_affine(lowest.position + offsets[-1], lowest.directions, lowest.spacing, step)
    return FrameStack((count - from_lowest)[np.argsort(order)].tolist(), affine)


def _heights(planes: Sequence[FramePlane], reference: FramePlane) -> Vector:
    return np.asarray(np.array([plane.position for plane in planes]) @ reference.normal)


def _count_slices(distances: Vector, lowest: FramePlane) -> tuple[int, float]:
    """Counts the steps from the first slice to the last, and measures a step in mm."""
    gaps = np.diff(distances)
    gaps = gaps[gaps >= SAME_POSITION * np.asarray(lowest.spacing).min()]
    if not len(gaps):
        return 0, lowest.slice_spacing or lowest.thickness or 1.0  # one slice has no third axis
    count = max(1, round(distances[-1] / (lowest.slice_spacing or gaps.min())))
    if count > MOST_FRAMES:
        raise ValueError(f"expected at most {MOST_FRAMES} slices, found positions that {count} slices lie between")
    return count, float(distances[-1] / count)
