"""Checks that float32 holds the voxels of a file, and that all of them are finite numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.pixels.scaling import EXACT, put

NOT_FINITE = "voxels that are no finite numbers (NaN or infinite)"


def check_exact(samples: npt.NDArray[Any]) -> None:
    """Refuses integers that float32 would round to other integers.

    Parameters
    ----------
    samples
        The stored values, of any shape and type; values of a float type pass.

    Raises
    ------
    ValueError
        An integer is above 2^24 in magnitude and has no exact float32.
    """
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize <= 2 or not samples.size:
        return
    least, greatest = int(samples.min()), int(samples.max())
    largest = max(-least, greatest)
    if largest <= EXACT or largest <= 2**53 and np.array_equal(samples.astype(np.float32).astype(np.float64), samples):
        return
    raise Damaged(f"integers from {least} to {greatest}, expected integers that float32 holds (up to {EXACT})")


def replace_not_finite(values: Any, nan: float | None) -> None:
    """Puts a number in the place of values that are no finite number, in place.

    Parameters
    ----------
    values
        float32, a numpy array or a tensor of any shape.
    nan
        The number; None refuses such values.

    Raises
    ------
    ValueError
        A value is not finite and there is no number; the message names the rule.
    """
    if _sum_is_finite(values):
        return
    finite = np.isfinite(values) if isinstance(values, np.ndarray) else torch.isfinite(values)
    if bool(finite.all()):
        return
    if nan is None:
        raise Damaged(f"{NOT_FINITE}, expected numbers; the rule `nan` gives the number in their place, as nan=0")
    put(values, ~finite, nan)


def _sum_is_finite(values: Any) -> bool:
    """Checks most images in one fast pass: a sum is finite only if every summand is."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(float(values.sum())))
