"""Scales words to float32 by a slope and an intercept, rounded once, with the same result on every device.

Threads of the CPU work on numpy's arrays, as torch's operations would start threads of their own in each; other devices
work on torch's tensors. Every function here takes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, TypeAlias

import numpy as np
import torch

Array: TypeAlias = Any
"""A numpy array or a torch tensor."""

EXACT = 2**24
"""Integers up to this are exact in float32."""

EXACT_DOUBLE = 2**53
"""Integers up to this are exact in float64."""


def empty_values(shape: Sequence[int], device: torch.device) -> torch.Tensor:
    """Allocates an uninitialised float32 tensor; on the CPU from numpy, whose huge pages fill 5 times faster."""
    if device.type == "cpu":
        return torch.from_numpy(np.empty(tuple(shape), dtype=np.float32))
    return torch.empty(tuple(shape), dtype=torch.float32, device=device)


def scale_into(out: Array, words: Array, slope: float = 1.0, intercept: float = 0.0) -> None:
    """Writes ``slope * words + intercept`` into ``out``.

    Values that float32 holds exactly are computed in float32, all others in float64 and then rounded. Multiplication
    and addition are never fused, so that devices agree to the last bit.

    Parameters
    ----------
    out
        float32, of the same shape and on the same device as the words.
    words
        Integers or floats.
    """
    if slope == 1 and intercept == 0:
        out[...] = words
    elif _is_exact(words, slope, intercept):
        out[...] = words
        if slope != 1:
            out *= slope
        if intercept != 0:
            out += intercept
    else:
        scaled = cast(words, "float64") * slope
        scaled += intercept
        out[...] = scaled


def rounded_numbers(
    out: Array, words: Array, slope: float = 1.0, intercept: float = 0.0, replaced: float = inf
) -> str:
    """Describes whole numbers that float32 rounds, as two label values become one; empty where there are none.

    Numbers with decimals are measurements and may be rounded.

    Parameters
    ----------
    out
        The values that :func:`scale_into` wrote, with either sign.
    words
        The integers or floats that they come from.
    replaced
        A value in ``out`` that stands for no number.
    """
    if words.itemsize < 4 or words.dtype in (np.float32, torch.float32) or not len(words):
        return ""
    if not (float(slope).is_integer() and float(intercept).is_integer()):
        return ""
    slope, intercept = int(slope), int(intercept)
    ends = [end * slope + intercept for end in _ends(words)]
    largest = max(map(abs, ends))
    if largest <= EXACT:
        return ""
    exact = cast(words, "float64") * slope + intercept
    values = cast(out, "float64")
    rounded = (abs(values) != abs(exact)) & (values != replaced)
    if not _whole(words) or not (rounded.any() or largest > EXACT_DOUBLE):
        return ""
    return (
        f"whole numbers from {int(min(ends))} to {int(max(ends))}, expected at most {EXACT} (2^24), or numbers that "
        "float32 holds exactly"
    )


def _ends(words: Array) -> list[float]:
    """Finds the lowest and the highest number, integers exactly."""
    if isinstance(words, np.ndarray):
        return [words.min().item(), words.max().item()]
    ends = (words.long() if words.dtype == torch.uint32 else words).aminmax()
    return [ends.min.item(), ends.max.item()]


def _whole(words: Array) -> bool:
    """Checks whether all numbers are whole; of floats, whether they are not so large that all of them are."""
    if isinstance(words, np.ndarray):
        return words.dtype.kind != "f" or bool((np.rint(words) == words).all() and np.abs(words).max() <= EXACT_DOUBLE)
    if not words.dtype.is_floating_point:
        return True
    return bool((words.round() == words).all() and words.abs().max() <= EXACT_DOUBLE)


def swap_bytes(raw: Array, size: int) -> Array:
    """Reverses the bytes of each word of ``size`` bytes in (..., n) uint8."""
    if size == 1:
        return raw
    words = raw.reshape(*raw.shape[:-1], -1, size)  # (..., n) -> (..., n / size, size)
    return (words[..., ::-1] if isinstance(raw, np.ndarray) else words.flip(-1)).reshape(raw.shape)


def put(values: Array, where: Array, value: float) -> None:
    """Sets the values where a mask of the same shape is true, in place."""
    if isinstance(values, np.ndarray):
        np.putmask(values, where, value)
    else:
        values.masked_fill_(where, value)


def cast(words: Array, kind: str) -> Array:
    """Converts words to another type, by numpy's name of it."""
    return words.astype(kind) if isinstance(words, np.ndarray) else words.to(getattr(torch, kind))


def view(words: Array, kind: str) -> Array:
    """Views the same bytes as another type, by numpy's name of it."""
    return words.view(kind) if isinstance(words, np.ndarray) else words.view(getattr(torch, kind))


def _is_exact(words: Array, slope: float, intercept: float) -> bool:
    """Checks whether every word of this type, scaled, is an integer that float32 holds."""
    floating = words.dtype.kind == "f" if isinstance(words, np.ndarray) else words.dtype.is_floating_point
    if floating or words.itemsize > 2 or not (float(slope).is_integer() and float(intercept).is_integer()):
        return False
    return bool(2 ** (8 * words.itemsize) * abs(slope) + abs(intercept) <= EXACT)
