"""A series' frames to one float32 tensor on a device.

On the CPU every frame is read, decoded and scaled by one thread at a time, straight into its place in the tensor. On
another device the bytes go up once as they lie in the file, from pinned memory, and all arithmetic runs there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import torch

from fedmed_transforms import gpu_frames
from fedmed_transforms.damage import said
from fedmed_transforms.dicom_file import DicomFile
from fedmed_transforms.frames import (
    Words,
    check_length,
    decode,
    decode_native,
    encoded_frames,
    is_coloured,
    is_native,
    read_native,
    samples_of,
)
from fedmed_transforms.pixels import (
    Meaning,
    PixelFormat,
    fill_values,
    meaning_of,
    pixel_format,
    resolve_padding,
    words_of,
)
from fedmed_transforms.planes import Slice
from fedmed_transforms.series_rules import SeriesRules
from fedmed_transforms.workers import in_turn

UPLOAD_BYTES = 2**26
"""Bytes of pinned memory that are filled before they go up together."""


def read_voxels(slices: list[Slice], rules: SeriesRules, device: torch.device) -> torch.Tensor:
    """The modality's values of slices.

    Parameters
    ----------
    slices
        In the order wanted, all of one size.
    rules
        Whether padded pixels keep their values.
    device
        Where the tensor is to be.

    Returns
    -------
    torch.Tensor
        (slices, rows, columns) float32, or (slices, rows, columns, 3) in [0, 1] for colours.

    Raises
    ------
    ValueError
        A frame is missing, damaged or contradicts its header; the message names the file.
    """
    first = slices[0].file
    formats = [_format(item) for item in slices]
    if is_coloured(first):
        return _colours(slices, formats, device)
    meanings = [_meaning(item, rules.padding == "keep") for item in slices]
    encoded = _encoded(slices)
    for file in {id(item.file): item.file for item in slices}.values():
        if is_native(file):
            check_length(file, pixel_format(file.header, file.keyword, native=True).frame_bytes)
    out = torch.empty((len(slices), formats[0].rows, formats[0].columns), dtype=torch.float32, device=device)
    if device.type == "cpu":
        _fill_here(out, slices, formats, meanings, encoded)
    else:
        fill_on_device(out, slices, formats, meanings, encoded)
    if any(meaning.padding is not None for meaning in meanings):
        _resolve(out, [index for index, meaning in enumerate(meanings) if meaning.padding is not None])
    return out


def _resolve(out: torch.Tensor, padded: list[int]) -> None:
    values = out.numpy() if out.device.type == "cpu" else out
    lowest = min(float(part.min()) for part in values)
    in_turn(lambda index: resolve_padding(values[index], lowest), padded)


def fill_on_device(
    out: torch.Tensor,
    slices: list[Slice],
    formats: list[PixelFormat],
    meanings: list[Meaning],
    encoded: dict[int, list[bytes]],
) -> None:
    """Fills (slices, rows, columns) on any device: bytes of like slices go up together and are interpreted there."""
    start = 0
    for (pixels, meaning, swap, native), same in groupby(
        zip(formats, meanings, map(_swap, slices), (is_native(item.file) for item in slices), slices, strict=True),
        key=lambda entry: entry[:4],
    ):
        group = [entry[4] for entry in same]
        for part in _parts(group, pixels.frame_bytes):
            target = out[start : start + len(part)]
            frames = [_bytes_of(item, encoded) for item in part]
            words = None if native else gpu_frames.decode(frames, part, out.device)
            if words is None:
                words = words_of(_upload(part, pixels, native, encoded, out.device), pixels, swap and native)
            fill_values(target, words, pixels, meaning)
            start += len(part)


def _fill_here(
    out: torch.Tensor,
    slices: list[Slice],
    formats: list[PixelFormat],
    meanings: list[Meaning],
    encoded: dict[int, list[bytes]],
) -> None:
    values = out.numpy()

    def fill(index: int) -> None:
        item, pixels = slices[index], formats[index]
        words = words_of(_raw(item, pixels, encoded), pixels, _swap(item) and is_native(item.file))
        fill_values(values[index], words, pixels, meanings[index])

    in_turn(fill, range(len(slices)))


def _raw(item: Slice, pixels: PixelFormat, encoded: dict[int, list[bytes]]) -> Words:
    """A frame's words as bytes, (frame bytes,) uint8: as in the file if native, else as decoded."""
    if is_native(item.file):
        raw: Words = np.empty(pixels.frame_bytes, dtype=np.uint8)
        read_native(item.file, item.frame, raw)
        return raw
    words = (
        decode(item.file, _bytes_of(item, encoded))
        if id(item.file) in encoded
        else decode_native(item.file, item.frame)
    )
    return np.ascontiguousarray(words).reshape(-1).view(np.uint8)


def _upload(
    part: list[Slice], pixels: PixelFormat, native: bool, encoded: dict[int, list[bytes]], device: torch.device
) -> torch.Tensor:
    """Frames' words as bytes on the device, (frames, frame bytes) uint8."""
    pinned = torch.empty((len(part), pixels.frame_bytes), dtype=torch.uint8, pin_memory=device.type == "cuda")
    rows = pinned.numpy()

    def read(index: int) -> None:
        if native:
            read_native(part[index].file, part[index].frame, rows[index])
        else:
            rows[index] = _raw(part[index], pixels, encoded)

    in_turn(read, range(len(part)))
    return pinned.to(device, non_blocking=True)  # the pinned memory is not handed out again before the copy is done


def _parts(group: list[Slice], frame_bytes: int) -> Iterator[list[Slice]]:
    size = max(1, UPLOAD_BYTES // max(1, frame_bytes))
    return (group[start : start + size] for start in range(0, len(group), size))


def _colours(slices: list[Slice], formats: list[PixelFormat], device: torch.device) -> torch.Tensor:
    encoded = _encoded(slices)

    def read(item: Slice, pixels: PixelFormat) -> torch.Tensor:
        if id(item.file) in encoded:
            words = decode(item.file, _bytes_of(item, encoded))
        else:
            words = decode_native(item.file, item.frame)
        palette = samples_of(item.file) == 1
        full = np.iinfo(words.dtype).max if palette else 2.0**pixels.stored - 1
        whole = words.astype(np.int32 if words.dtype.itemsize < 4 else np.int64)
        return (torch.from_numpy(whole).to(device).double() / float(full)).float()

    return torch.stack([read(item, pixels) for item, pixels in zip(slices, formats, strict=True)])


def _encoded(slices: list[Slice]) -> dict[int, list[bytes]]:
    """The compressed frames of every file that is compressed, by the file's id."""
    files: dict[int, DicomFile] = {id(item.file): item.file for item in slices}
    return {key: encoded_frames(file) for key, file in files.items() if file.transfer_syntax.is_encapsulated}


def _bytes_of(item: Slice, encoded: dict[int, list[bytes]]) -> bytes:
    return encoded[id(item.file)][item.frame] if id(item.file) in encoded else b""


def _format(item: Slice) -> PixelFormat:
    try:
        return pixel_format(item.file.header, item.file.keyword, is_native(item.file))
    except Exception as error:  # an element of several values, or of none
        raise ValueError(f"{item.file.name}: {said(error)}") from error


def _meaning(item: Slice, keep_padding: bool) -> Meaning:
    try:
        return meaning_of(item, keep_padding)
    except Exception as error:
        expected = "expected readable modality and padding elements"
        raise ValueError(f"{item.file.name}: {expected}, found {said(error)}") from error


def _swap(item: Slice) -> bool:
    return not item.file.transfer_syntax.is_little_endian
