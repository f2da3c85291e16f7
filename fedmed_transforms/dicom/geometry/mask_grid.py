"""Puts masks on the pixels of their images by position alone; no order of slices or axes is assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fedmed_transforms.dicom.geometry.orthonormal import MOST_TURN

Array: TypeAlias = npt.NDArray[Any]

TOLERANCE = 0.1
"""The largest distance of a mask's voxel from its pixel in the image, relative to the voxel's shortest edge.

Rounding in headers loses a hundredth of a millimetre, which is far less; a mask on other tissue is far more. Where the
image's directions are not quite perpendicular, :func:`_turned` adds the displacement of written files.
"""


@dataclass(frozen=True)
class Plane:
    """The pixel grid of one slice; positions in mm, LPS or RAS like those of the mask it is compared with.

    Attributes
    ----------
    origin
        Centre of the first pixel, (3,).
    to_next_column, to_next_row
        Steps from a pixel to the next one in its row, and to the next one in its column, (3,).
    rows, columns
        Size in pixels.
    """

    origin: Array
    to_next_column: Array
    to_next_row: Array
    rows: int
    columns: int

    def corners(self) -> Array:
        """Computes the centres of the pixels in the four corners, (4, 3)."""
        across, down = (self.columns - 1) * self.to_next_column, (self.rows - 1) * self.to_next_row
        return np.stack([self.origin, self.origin + across, self.origin + down, self.origin + across + down])


def planes_of_volume(affine: Array, shape: Sequence[int]) -> list[Plane]:
    """Lists the slices of a volume (X, Y, Z) and its affine: x runs along columns, y along rows, z is the slice.
    """
    matrix = np.asarray(affine, dtype=float)
    return [
        Plane(matrix[:3, 3] + number * matrix[:3, 2], matrix[:3, 0], matrix[:3, 1], shape[1], shape[0])
        for number in range(shape[2])
    ]


def mask_on_planes(mask: Array, affine: Array, planes: Sequence[Plane]) -> Array:
    """Finds the part of a mask that belongs to each slice by permuting and flipping axes, without interpolation.

    Parameters
    ----------
    mask
        (n, X, Y, Z), axes in any order and direction.
    affine
        (4, 4), from voxel indices to mm, LPS or RAS like the planes. Across a mask of one slice its step is ignored.
    planes
        All slices of the image, in any order.

    Returns
    -------
    numpy.ndarray
        (n, slices, rows, columns) in the order of the planes.

    Raises
    ------
    ValueError
        The mask's grid does not coincide with the slices; the message states distances in mm, sizes and spacings.
    """
    matrix = _regular(np.array(affine, dtype=float), mask.shape[1:])
    steps = [_steps(matrix, mask.shape[1:], plane) for plane in planes]
    twice = [
        index for index, count in Counter(step.tobytes() for step in steps if step is not None).items() if count > 1
    ]
    if any(step is None for step in steps) or len(planes) != _size_across(steps[0], mask.shape[1:]):
        raise ValueError(_difference(matrix, mask.shape[1:], planes, [step is None for step in steps]))
    if twice:
        raise ValueError(f"{len(twice)} positions: found several slices of the image there, expected one volume")
    return np.stack([_slice(mask, step) for step in steps if step is not None], axis=1)


def slices_held(affine: Array, shape: Sequence[int], planes: Sequence[Plane]) -> list[int]:
    """Finds the slices of an image that a mask of an affine (4, 4) and a shape (X, Y, Z) covers: their indices.

    Raises
    ------
    ValueError
        The affine can't be inverted.
    """
    matrix = _regular(np.array(affine, dtype=float), shape)
    return [index for index, plane in enumerate(planes) if _steps(matrix, shape, plane) is not None]


def _regular(affine: Array, shape: Sequence[int]) -> Array:
    """Gives the affine of a mask of one slice a step of 1 mm across its plane: the stated one may be arbitrary."""
    if affine.shape == (4, 4) and list(shape).count(1) == 1:
        axis = list(shape).index(1)
        across = np.cross(*np.delete(affine[:3, :3], axis, axis=1).T)
        affine[:3, axis] = across / (np.linalg.norm(across) or 1)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise ValueError("mask: expected an invertible affine of shape (4, 4) with finite values")
    return affine


def _steps(affine: Array, shape: Sequence[int], plane: Plane) -> Array | None:
    """Finds the voxel indices (3, 3) of a plane's first pixel and of its steps; None where it is no slice.
    """
    inverse = np.linalg.inv(affine[:3, :3])
    exact = np.stack(
        [inverse @ (plane.origin - affine[:3, 3]), inverse @ plane.to_next_column, inverse @ plane.to_next_row]
    )
    whole = np.rint(exact).astype(int)
    start, across, down = whole
    if sorted(np.abs(across)) != [0, 0, 1] or sorted(np.abs(down)) != [0, 0, 1] or np.any(across & down & 1):
        return None
    last = start + (plane.columns - 1) * across + (plane.rows - 1) * down
    size = (plane.columns - 1) * np.abs(across) + (plane.rows - 1) * np.abs(down)
    inside = np.all((np.minimum(start, last) >= 0) & (np.maximum(start, last) < shape))
    if not inside or np.any((size + 1 != shape) & (np.abs(across) + np.abs(down) == 1)):
        return None
    found = _corners_of(whole, plane) @ affine[:3, :3].T + affine[:3, 3]
    apart = np.linalg.norm(found - plane.corners(), axis=1).max()
    return whole if apart <= TOLERANCE * _spacing(affine).min() + _turned(plane) else None


def _turned(plane: Plane) -> float:
    """Computes how far in mm a plane's corners move where its directions are turned to a right angle.
    """
    across, down = plane.to_next_column, plane.to_next_row
    turn = 0.5 * abs(across @ down) / (np.linalg.norm(across) * np.linalg.norm(down))
    if turn > MOST_TURN:
        return 0.0  # a sheared volume, no rounding
    return float(turn * np.linalg.norm(plane.corners() - plane.origin, axis=1).max())


def _corners_of(steps: Array, plane: Plane) -> Array:
    start, across, down = steps.astype(float)
    return Plane(start, across, down, plane.rows, plane.columns).corners()


def _size_across(steps: Array | None, shape: Sequence[int]) -> int:
    """Counts the slices of a mask across a plane."""
    return -1 if steps is None else int(np.asarray(shape)[_axis_across(steps)])


def _axis_across(steps: Array) -> int:
    return int(np.argmin(np.abs(steps[1]) + np.abs(steps[2])))


def _slice(mask: Array, steps: Array) -> Array:
    """Cuts a slice out of a mask: (n, X, Y, Z) -> (n, rows, columns)."""
    start, across, down = steps
    axes = [_axis_across(steps), int(np.abs(down).argmax()), int(np.abs(across).argmax())]
    plane = mask.transpose(0, *(axis + 1 for axis in axes))[:, start[axes[0]]]  # (n, rows, columns)
    return plane[:, :: down[axes[1]], :: across[axes[2]]]


def _spacing(affine: Array) -> Array:
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def _difference(affine: Array, shape: Sequence[int], planes: Sequence[Plane], apart: Sequence[bool]) -> str:
    """Describes a grid that does not coincide with the slices, next to them."""
    corners = np.concatenate([plane.corners() for plane in planes]) - affine[:3, 3]
    nearest = np.clip(np.rint(corners @ np.linalg.inv(affine[:3, :3]).T), 0, np.asarray(shape) - 1)
    distance = np.linalg.norm(nearest @ affine[:3, :3].T - corners, axis=1).max()
    first = planes[0]
    pixels = [float(np.linalg.norm(step)) for step in (first.to_next_column, first.to_next_row)]
    return (
        f"mask of {_times(shape, 'd')} voxels at {_times(_spacing(affine), '.4g')} mm: expected the grid of the image, "
        f"{len(planes)} slices of {_times((first.columns, first.rows), 'd')} pixels at {_times(pixels, '.4g')} mm, "
        f"within {TOLERANCE * _spacing(affine).min():.3g} mm; {sum(apart)} slices are not the mask's, "
        f"the farthest corner lies {distance:.4g} mm from the nearest voxel"
    )


def _times(values: Any, form: str) -> str:
    return " x ".join(format(value, form) for value in values)
