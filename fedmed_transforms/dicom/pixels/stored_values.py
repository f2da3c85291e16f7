"""Converts stored bytes to the modality's values, with the same operations on every device.

Integer arithmetic is exact; float arithmetic is :mod:`fedmed_transforms.dicom.pixels.scaling`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.pixels.pixel_format import PixelFormat, check_high_bit, stored_bits, whole_words
from fedmed_transforms.dicom.pixels.scaling import Array, cast, put, rounded_numbers, scale_into, swap_bytes, view
from fedmed_transforms.dicom.slices import Slice

PADDED = float("inf")
"""The value of a padded pixel until the lowest real value of the image is known."""


@dataclass(frozen=True)
class Meaning:
    """The meaning of stored values (PS3.3, C.11.1 modality LUT; C.7.5.1.1.2 padding; C.7.6.3.1.2 photometric).

    Attributes
    ----------
    slope, intercept
        value = slope * stored + intercept.
    table, table_start
        A modality LUT in place of them, and the stored value of its first entry.
    inverted
        MONOCHROME1, the lowest value is white: values turn their sign, so that white is high.
    padding
        Range of stored values, both ends included, that pad the image; None if there are none or they are kept.
    """

    slope: float = 1.0
    intercept: float = 0.0
    table: tuple[float, ...] = ()
    table_start: int = 0
    inverted: bool = False
    padding: tuple[float, float] | None = None


def meaning_of(item: Slice, keep_padding: bool) -> Meaning:
    """Reads the meaning of a slice's stored values.

    Raises
    ------
    ValueError
        The modality LUT is damaged.
    """
    header = item.file.header
    table, start = _table(header)
    return Meaning(
        slope=item.slope,
        intercept=item.intercept,
        table=table,
        table_start=start,
        inverted=header.get("PhotometricInterpretation") == "MONOCHROME1",
        padding=None if keep_padding else _padding(header),
    )


def words_of(raw: Array, pixels: PixelFormat, swap: bool) -> Array:
    """Views bytes (..., frame bytes) as words (..., rows, columns), byte-swapped if they are of the other order."""
    raw = swap_bytes(raw, pixels.allocated // 8) if swap else raw
    return view(raw, pixels.word).reshape(*raw.shape[:-1], pixels.rows, pixels.columns)


def fill_values(out: Array, words: Array, pixels: PixelFormat, meaning: Meaning) -> None:
    """Writes the values of words into ``out``, float32 of the same shape; padded pixels become ``PADDED``.

    Raises
    ------
    Damaged
        Words contradict the HighBit, or float32 does not hold an integer; the message does not name the file.
    """
    stored = words if pixels.floating else stored_bits(words, pixels)
    check_high_bit(words, pixels)
    if meaning.table:
        index = (cast(stored, "int64") - meaning.table_start).clip(0, len(meaning.table) - 1)
        out[...] = _like(meaning.table, out)[index]
    else:
        scale_into(out, stored, meaning.slope, meaning.intercept)
    if meaning.inverted:
        out *= -1
    if meaning.padding is not None and _fits(meaning.padding, pixels):
        put(out, _is_padding(words, pixels, meaning.padding), PADDED)
    if meaning.table or pixels.allocated <= 16:
        return
    if found := rounded_numbers(out, stored, meaning.slope, meaning.intercept, PADDED):
        raise Damaged(found)


def resolve_padding(values: Array, lowest: float) -> None:
    """Sets padded pixels of float32 values to the lowest other value, in place."""
    put(values, values == PADDED, 0.0 if lowest == PADDED else lowest)


def _is_padding(words: Array, pixels: PixelFormat, padding: tuple[float, float]) -> Array:
    if pixels.floating:
        return (words >= padding[0]) & (words <= padding[1])
    low, high = sorted(_of_words(int(end), pixels) for end in padding)
    least = -(2 ** (pixels.stored - 1)) if pixels.signed else 0
    counted = least <= low and high < least + 2**pixels.stored  # else the padding lies in the bits that do not count
    numbers = stored_bits(words, pixels) if counted else whole_words(words, pixels)
    return numbers == low if low == high else (numbers >= low) & (numbers <= high)


def _fits(padding: tuple[float, float], pixels: PixelFormat) -> bool:
    """Checks whether words can hold the padding values, with either sign."""
    return pixels.floating or all(-(2 ** (pixels.allocated - 1)) <= end < 2**pixels.allocated for end in padding)


def _of_words(value: int, pixels: PixelFormat) -> int:
    """Converts a padding value to the sign of the words: some files state it with the other one."""
    value %= 2**pixels.allocated
    return value - 2**pixels.allocated if pixels.signed and value >= 2 ** (pixels.allocated - 1) else value


def _like(table: tuple[float, ...], out: Array) -> Array:
    values = np.asarray(table, dtype=np.float32)
    return values if isinstance(out, np.ndarray) else torch.from_numpy(values).to(out.device)


def _padding(header: Dataset) -> tuple[float, float] | None:
    for prefix in ("", "Float", "DoubleFloat"):
        value = header.get(f"{prefix}PixelPaddingValue")
        if value is not None:
            limit = header.get(f"{prefix}PixelPaddingRangeLimit")
            ends = float(value), float(value if limit is None else limit)
            return min(ends), max(ends)
    return None


def _table(header: Dataset) -> tuple[tuple[float, ...], int]:
    sequence = header.get("ModalityLUTSequence")
    if not sequence:
        return (), 0
    length, start, bits = (int(value) for value in sequence[0].LUTDescriptor)
    length = length or 2**16
    data = sequence[0].LUTData
    if isinstance(data, bytes):
        order = "<u2" if header.original_encoding[1] is not False else ">u2"
        data = np.frombuffer(data, dtype=order if bits > 8 or len(data) >= 2 * length else np.uint8)
    table = tuple(float(int(value) & 0xFFFF) for value in data)
    if len(table) < length:
        raise Damaged(f"a modality LUT with {len(table)} entries, expected {length}")
    if header.get("PixelRepresentation") and start > 0x7FFF:  # the parser took it for unsigned
        start -= 0x10000
    return table[:length], start
