"""Finds the voxels of an image that the contours of a structure enclose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.path import Path as Outline
from matplotlib.transforms import Bbox

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.geometry.mask_grid import TOLERANCE, Array
from fedmed_transforms.dicom.structures.structure_set import ENCLOSING, Structure
from fedmed_transforms.image_metadata import LPS_FROM_RAS

DECIMALS = 4
"""Decimals, in voxels, to which the points of a contour that is stored twice agree."""

ASIDE = 10.0**-DECIMALS
"""Pixels by which centres are moved along both axes, so that of two opposite edges through centres one counts."""

ROWS = 8
"""Rows of pixels that are compared with a contour together."""


def slices_inside(structure: Structure, affine: Array, shape: Sequence[int]) -> list[tuple[int, int, Array]]:
    """Finds the voxels whose centre lies inside the contours of a structure.

    A contour inside another one is a hole in it, and a contour in the hole is an island, as planning systems store
    them; an outline with a channel to its hole (a keyhole) encloses the same area. Parts of a contour beside the image
    are cut off.

    Source: DICOM PS3.3, C.8.8.6 (ROI contour).

    Parameters
    ----------
    structure
        With contours in mm, LPS.
    affine
        (4, 4), voxel indices of the image to mm, RAS.
    shape
        (X, Y, Z) of the image.

    Returns
    -------
    list
        The slices with contours: the axis that all lie across, the index on this axis, and the voxels, bool. Their rows
        run along the later of the other axes, their columns along the earlier: (Y, X) across z.

    Raises
    ------
    Damaged
        The structure has no contour that encloses an area, a contour lies between the slices or beside them, the
        contours skip slices, or two of them cross; the message states distances in mm.
    """
    outlines = _outlines(structure)
    inverse = np.linalg.inv(LPS_FROM_RAS @ affine)
    indices = [(kind, points @ inverse[:3, :3].T + inverse[:3, 3]) for kind, points in outlines]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axis = int(np.argmin([max(np.ptp(points[:, axis]) for _, points in indices) for axis in range(3)]))
    slices = [_slice_of(points[:, axis], shape[axis], spacing, axis) for _, points in indices]
    _check_gaps(slices)
    across = [other for other in (2, 1, 0) if other != axis]
    drawn: dict[int, list[tuple[str, Array]]] = {}
    for number, (kind, points) in zip(slices, indices, strict=True):
        drawn.setdefault(number, []).append((kind, points[:, across]))
    size = shape[across[0]], shape[across[1]]
    return [(axis, number, _fill(contours, size)) for number, contours in drawn.items()]


def _outlines(structure: Structure) -> list[tuple[str, Array]]:
    """Lists the contours that enclose an area; a structure of none, or of others too, is no volume."""
    if not structure.contours:
        raise Damaged("no contour")
    others = {kind for kind, _ in structure.contours} - set(ENCLOSING)
    if others:
        raise Damaged(f"contours {', '.join(sorted(others))}, expected {' or '.join(ENCLOSING)}")
    outlines = [(kind, points) for kind, points in structure.contours if len(points) > 2]
    if not outlines:
        raise Damaged("no contour of three points or more")
    return outlines


def _slice_of(places: Array, count: int, spacing: Array, axis: int) -> int:
    """Finds the slice on which all points of a contour lie, by their indices across the slices."""
    number = int(np.rint(places.mean()))
    apart = float(np.abs(places - number).max() * spacing[axis])
    most = TOLERANCE * float(spacing.min())
    if apart > most:
        raise Damaged(f"a contour {apart:.4g} mm from the nearest slice of the image, expected at most {most:.3g} mm")
    if not 0 <= number < count:
        outside = float(max(-number, number - count + 1) * spacing[axis])
        raise Damaged(f"a contour {outside:.4g} mm beyond the last slice of the image")
    return number


def _check_gaps(slices: Iterable[int]) -> None:
    """Refuses contours on every second or third slice: the slices between them would count as background."""
    ordered = sorted(set(slices))
    nearest = min((after - before for before, after in zip(ordered, ordered[1:])), default=1)
    if nearest > 1:
        raise Damaged(f"contours {nearest} slices of the image apart or more, expected them on each slice")


def _fill(contours: list[tuple[str, Array]], size: tuple[int, int]) -> Array:
    """Fills the contours of a slice, points (n, 2) in pixels -> bool of the size."""
    filled: Array = np.zeros(size, dtype=bool)
    distinct = {frozenset(map(tuple, np.round(points, DECIMALS).tolist())): (kind, points) for kind, points in contours}
    ordered: list[tuple[str, Array]] = sorted(distinct.values(), key=lambda contour: -_area(contour[1]))
    for kind, points in ordered:
        begin = np.clip(np.ceil(points.min(axis=0)), 0, size).astype(int)
        end = np.clip(np.floor(points.max(axis=0)) + 1, begin, size).astype(int)
        box = filled[begin[0] : end[0], begin[1] : end[1]]
        inside = _inside(points, begin, end)
        common = inside & box
        if kind == "CLOSED_PLANAR" and common.any() and not common[inside].all():
            raise Damaged("two contours that cross each other on a slice")
        box ^= inside
    return filled


def _inside(points: Array, begin: Array, end: Array) -> Array:
    """Checks which pixels of a box have their centre inside a closed contour.

    A contour often runs through centres, as programs trace it along a mask's pixels. Of two opposite edges the first
    one counts, so that the pixels have the area of the contour, and contours that share an edge share no pixel.

    Each strip of rows is compared with the part of the contour in it alone, which is 20 times faster for a whole body.
    """
    outline = Outline(np.concatenate([points, points[:1]]), closed=True)
    left, right = points[:, 1].min() - 1, points[:, 1].max() + 1
    strips = [np.zeros((0, end[1] - begin[1]), dtype=bool)]
    for first in range(begin[0], end[0], ROWS):
        last = min(first + ROWS, end[0])
        part = outline.clip_to_bbox(Bbox([[first - 0.5, left], [last - 0.5, right]]))
        grid = np.mgrid[first:last, begin[1] : end[1]] + ASIDE
        strips.append(part.contains_points(grid.reshape(2, -1).T).reshape(grid.shape[1:]))
    return np.concatenate(strips)


def _area(points: Array) -> float:
    """Computes the area of a closed contour (the shoelace formula)."""
    x, y = points.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
