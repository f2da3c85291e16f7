"""Finds the regular grid of slices whose stated positions are rounded."""

from __future__ import annotations

import numpy as np

from fedmed_transforms.dicom.planes import Vector

MOST_DECIMALS = 6
"""Decimals beyond which a position counts as exact."""

LARGEST_PART = 0.24
"""Largest rounding, relative to the distance between slices: below a quarter of it a missing slice is always seen."""

LEAN = 1e-3
"""Shift relative to the distance (0.06 degrees) that rounded cosines explain."""

STEPS = 60
"""Halvings in the search of a line; each shortens the range of its slope by a third."""


def rounding_of(positions: Vector) -> Vector:
    """Computes by how much each coordinate of positions (n, 3) may be rounded, (3,), mm: half of its last decimal.

    Positions in whole millimetres count as stated with one decimal: the grid of true slices is often whole.
    """
    errors = np.zeros(3)
    for axis, values in enumerate(positions.T):
        for decimals in range(1, MOST_DECIMALS + 1):
            scaled = values * 10.0**decimals
            if (abs(scaled - np.rint(scaled)) < 1e-6).all():
                errors[axis] = 0.5 * 10.0**-decimals
                break
    return errors


def fit_within_rounding(positions: Vector, directions: Vector, upright: Vector) -> Vector | None:
    """Fits evenly spaced positions on a line to stated ones, if these differ from such positions by rounding alone.

    Parameters
    ----------
    positions
        Of the first pixel of each slice, (n, 3), mm, LPS, in order along the normal.
    directions
        Along x and y, (2, 3), LPS.
    upright
        Shift along x and y, in mm, within which slices count as above each other, (2,).

    Returns
    -------
    numpy.ndarray or None
        (n, 3), the least-squares fit over all slices; None where the slices are uneven or tilted by more than rounding.
    """
    count = len(positions)
    if count < 3:
        return None
    axes = np.vstack([directions, np.cross(*directions)])
    errors = abs(axes) @ rounding_of(positions)  # along x, y and the normal
    along = (positions - positions[0]) @ axes.T  # (n, 3)
    heights = along[:, 2]
    step = heights[-1] / (count - 1)
    allowed = min(errors[2], LARGEST_PART * step)
    if step <= 0 or _least_width(heights, allowed) > 2 * allowed * (1 + 1e-6) + 1e-9:
        return None
    number = np.arange(count) - (count - 1) / 2
    slope = number @ positions / (number @ number)
    beside = upright + 2 * errors[:2]
    lean = abs((count - 1) * slope @ directions.T)
    if (lean <= beside).all():
        slope = axes[2] * (slope @ axes[2])
    elif (lean > np.maximum(beside, LEAN * heights[-1])).any():
        return None
    fitted = positions.mean(axis=0) + number[:, None] * slope
    return np.asarray(fitted) if (abs((positions - fitted) @ directions.T) <= beside).all() else None


def _least_width(heights: Vector, error: float) -> float:
    """Finds the narrowest strip between two parallel lines over the slices' numbers that holds all heights, in mm."""
    number = np.arange(len(heights))
    middle, reach = heights[-1] / number[-1], 2 * error / number[-1] + 1e-12
    low, high = middle - reach, middle + reach
    for _ in range(STEPS):
        third = (high - low) / 3
        if np.ptp(heights - (low + third) * number) < np.ptp(heights - (high - third) * number):
            high -= third
        else:
            low += third
    return float(np.ptp(heights - 0.5 * (low + high) * number))
