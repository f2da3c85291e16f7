"""Turns a picture upright by the orientation that its EXIF or TIFF entry states."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ORIENTATION = 0x0112
"""Tag of the orientation, the same in EXIF and TIFF."""


def turn_upright(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turns the stored rows and columns of a picture as a viewer does (EXIF 2.32, 4.6.4, Orientation).

    Parameters
    ----------
    samples
        (rows, columns) or (rows, columns, C).
    orientation
        1 to 8; any other number leaves the picture as it is stored, as in viewers.
    """
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples


def orientation_of(entries: Any) -> int:
    """Returns the orientation in the EXIF entries of a picture; 1, upright, if they state none."""
    value = entries.get(ORIENTATION, 1)
    return int(value) if isinstance(value, (int, np.integer)) else 1
