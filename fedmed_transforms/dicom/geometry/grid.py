"""Orders slices along their normal and computes an affine from the first and the last. Millimetres, LPS.

An irregular grid is refused with the files and the measured numbers, unless a rule mends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedmed_transforms.dicom.geometry.rounding import fit_within_rounding
from fedmed_transforms.dicom.geometry.stack import one_stack
from fedmed_transforms.dicom.planes import Vector
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.slices import Slice
from fedmed_transforms.image_metadata import LPS_FROM_RAS

SAME_POSITION = 1e-3
"""Distance along the normal, relative to the pixel spacing, within which two slices are at the same position."""

EVEN = 0.01
"""Largest deviation of a slice from its place on the grid, relative to the distance between slices."""

EVEN_MILLIMETRES = 0.02
"""Deviation that counts as even, in mm, up to a tenth of the distance: the scanners' rounding of positions."""

UPRIGHT = 0.1
"""Largest shift of a slice against the first, across the normal, in pixels, of a series that is not tilted."""

UPRIGHT_SLOPE = 1e-3
"""Shift relative to the distance (0.06 degrees) that cosines of three decimals explain; the affine holds it."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The slices of a volume in order along their normal, with their measured grid.

    Attributes
    ----------
    slices
        In order, bottom first as the normal points.
    origin, directions, spacing
        Centre of the first pixel (3,), unit vectors along x, y (2, 3), and the pixel's size along x and y (2,).
    step
        From a slice to the next, (3,).
    distances
        Of each slice from the first along the normal, (n,), mm.
    shifts
        Of each slice against the first along x and y, (n, 2), pixels.
    even, upright
        Whether the slices are evenly spaced, and not shifted against each other.
    """

    slices: list[Slice]
    origin: Vector
    directions: Vector
    spacing: Vector
    step: Vector
    distances: Vector
    shifts: Vector
    even: bool
    upright: bool

    @property
    def affine(self) -> Vector:
        """The affine of voxels (column, row, slice) to mm, RAS, (4, 4)."""
        return ras_affine(self.origin, self.directions, self.spacing, self.step)


def ras_affine(origin: Vector, directions: Vector, spacing: Vector, step: Vector) -> Vector:
    """Builds the affine of voxels (column, row, slice) to mm, RAS, (4, 4), from a grid in LPS."""
    affine = np.eye(4)
    affine[:3, :2] = (directions * spacing[:, None]).T
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return LPS_FROM_RAS @ affine


def build_grid(slices: list[Slice], rules: SeriesRules, single: bool = False) -> Grid:
    """Puts slices in order and measures their grid.

    Parameters
    ----------
    slices
        Of one series, in any order.
    rules
        How to load slices that form no regular grid.
    single
        Whether this is one image and no volume: it needs no place in the patient.

    Raises
    ------
    ValueError
        The slices form no regular grid and no rule mends it; the message names the slices, the measured numbers and
        the rule.
    """
    slices = one_stack(slices, rules, single)
    first = slices[0]
    assert first.position is not None and first.directions is not None and first.spacing is not None
    heights = np.array([_height(item, first) for item in slices])
    order = sorted(range(len(slices)), key=lambda index: (heights[index], slices[index].number, slices[index].name))
    return _measure([slices[index] for index in order], heights[order], rules)


def _height(item: Slice, reference: Slice) -> float:
    assert item.position is not None
    return float(item.position @ reference.normal)


def _measure(slices: list[Slice], heights: Vector, rules: SeriesRules) -> Grid:
    first = slices[0]
    assert first.position is not None and first.directions is not None and first.spacing is not None
    offsets = np.array([item.position for item in slices]) - first.position
    shifts = offsets @ first.directions.T / first.spacing
    distances = heights - heights[0]
    step = distances[-1] / (len(slices) - 1) if len(slices) > 1 else _thickness(first, rules)
    same = np.diff(distances) < SAME_POSITION * first.spacing.min()
    even = not same.any() and (len(slices) == 1 or is_even(distances))
    grid = Grid(
        slices=slices,
        origin=first.position,
        directions=first.directions,
        spacing=first.spacing,
        step=offsets[-1] / (len(slices) - 1) if len(slices) > 1 else first.normal * step,
        distances=distances,
        shifts=shifts,
        even=even,
        upright=is_upright(shifts, distances, first.spacing),
    )
    return grid if grid.even and grid.upright or same.any() else _without_rounding(grid)


def _without_rounding(grid: Grid) -> Grid:
    """Fits a regular grid to positions that are rounded; other positions stay as they are."""
    positions = np.array([item.position for item in grid.slices])
    fitted = fit_within_rounding(positions, grid.directions, UPRIGHT * grid.spacing)
    if fitted is None:
        return grid
    step = (fitted[-1] - fitted[0]) / (len(fitted) - 1)
    return replace(grid, origin=fitted[0], step=step, even=True, upright=True)


def is_even(distances: Vector) -> bool:
    """Checks that slices are evenly spaced: distances from the first in mm, in order along the normal."""
    step = distances[-1] / max(1, len(distances) - 1)
    return bool((abs(distances - step * np.arange(len(distances))) <= even_tolerance(step)).all())


def even_tolerance(step: float) -> float:
    """Computes the deviation in mm within which slices at a distance in mm count as evenly spaced."""
    return max(EVEN * step, min(EVEN_MILLIMETRES, 0.1 * step))


def is_upright(shifts: Vector, distances: Vector, spacing: Vector) -> bool:
    """Checks that slices stand above each other: shifts in pixels, distances in mm, in order along the normal."""
    if (abs(shifts) <= UPRIGHT).all():
        return True
    if distances[-1] <= 0:
        return False
    line = np.outer(distances / distances[-1], shifts[-1])
    leaning = np.linalg.norm(shifts[-1] * spacing) / distances[-1]
    return bool(leaning <= UPRIGHT_SLOPE and (abs(shifts - line) <= UPRIGHT).all())


def check_regular(grid: Grid, rules: SeriesRules) -> None:
    """Refuses a grid that is tilted or uneven, unless the rules mend it.

    Raises
    ------
    ValueError
        As :func:`build_grid`.
    """
    if not grid.upright and rules.tilt == "refuse":
        worst = int(abs(grid.shifts).max(axis=1).argmax())
        shift = np.linalg.norm(grid.shifts[worst] * grid.spacing)
        angle = np.degrees(np.arctan2(shift, grid.distances[worst])) if grid.distances[worst] > 0 else 90.0
        raise ValueError(
            f"{grid.slices[worst].name}: expected slices above each other, found one shifted by {shift:.2f} mm over "
            f"{grid.distances[worst]:.2f} mm along the normal (tilted by {angle:.1f} degrees); the rule "
            "tilt='shear' shears them back"
        )
    if not grid.even and rules.uneven == "refuse":
        steps = np.diff(grid.distances)
        widest = int(steps.argmax())
        usual = float(np.median(steps))
        missing = steps[widest] > 1.5 * usual
        raise ValueError(
            f"expected evenly spaced slices, found distances of {steps.min():.3f} to {steps.max():.3f} mm (median "
            f"{usual:.3f}), the widest between {grid.slices[widest].name} and {grid.slices[widest + 1].name}"
            + (f", where {round(steps[widest] / usual) - 1} slices may be missing" if missing else "")
            + "; the rule uneven='resample' resamples them to a regular grid"
        )


def duplicate_positions(grid: Grid) -> list[list[int]]:
    """Finds slices at the same position: their indices, in groups of two or more."""
    groups: list[list[int]] = [[0]]
    for index, step in enumerate(np.diff(grid.distances), start=1):
        if step < SAME_POSITION * grid.spacing.min():
            groups[-1].append(index)
        else:
            groups.append([index])
    return [group for group in groups if len(group) > 1]


def select_slices(grid: Grid, kept: Sequence[int], rules: SeriesRules) -> Grid:
    """Measures the grid of the slices of these indices."""
    return _measure([grid.slices[index] for index in kept], grid.distances[list(kept)], rules)


def _thickness(single_slice: Slice, rules: SeriesRules) -> float:
    stated = single_slice.slice_spacing or single_slice.thickness
    if stated is not None:
        return stated
    return 1.0 if rules.assume_spacing is None else float(rules.assume_spacing[2])  # an image has no third axis
