"""Scales words to float32 by a slope and an intercept, rounded once, with the same result on every device.

Threads of the CPU work on numpy's arrays, as torch's operations would start threads of their own in each; other devices
work on torch's tensors. Every function here takes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

Array: TypeAlias = Any
"""A numpy array or a torch tensor."""

EXACT = 2**24
"""Integers up to this are exact in float32."""


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


def rounded_integers(out: Array, words: Array, slope: float, intercept: float) -> Array | None:
    """Finds the integers that :func:`scale_into` could only write rounded, because float32 does not hold them.

    Parameters
    ----------
    out, words, slope, intercept
        As of :func:`scale_into`, after it.

    Returns
    -------
    Array or None
        Where ``out`` is rounded, a mask of its shape; None if no word can be: words of up to 16 bits, and those that a
        fraction scales, which are measurements.
    """
    if _is_floating(words) or words.itemsize <= 2 or not (float(slope).is_integer() and float(intercept).is_integer()):
        return None
    if max(-int(words.min()), int(words.max())) * abs(slope) + abs(intercept) <= EXACT:
        return None
    return cast(out, "float64") != cast(words, "float64") * slope + intercept


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
    if _is_floating(words) or words.itemsize > 2 or not (float(slope).is_integer() and float(intercept).is_integer()):
        return False
    return bool(2 ** (8 * words.itemsize) * abs(slope) + abs(intercept) <= EXACT)


def _is_floating(words: Array) -> bool:
    return bool(words.dtype.kind == "f" if isinstance(words, np.ndarray) else words.dtype.is_floating_point)
