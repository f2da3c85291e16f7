"""Reads the frames of a series into one float32 tensor on a device.

On the CPU every frame is read, decoded and scaled by one thread at a time, straight into its place in the tensor. On
another device the bytes go up once as they lie in the file, from pinned memory, and all arithmetic runs there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

from fedmed_transforms.dicom.damage import Damaged, error_text
from fedmed_transforms.dicom.dicom_file import DicomFile, is_coloured, samples_of
from fedmed_transforms.dicom.mosaic.read_tiles import read_tiles
from fedmed_transforms.dicom.pixels import gpu_frames
from fedmed_transforms.dicom.pixels.fragments import encoded_frames
from fedmed_transforms.dicom.pixels.frames import (
    Words,
    check_length,
    decode,
    decode_native,
    is_native,
    read_native,
)
from fedmed_transforms.dicom.pixels.pixel_format import PixelFormat, is_as_stored, pixel_format
from fedmed_transforms.dicom.pixels.scaling import Array, empty_values
from fedmed_transforms.dicom.pixels.stored_values import (
    Meaning,
    fill_values,
    meaning_of,
    resolve_padding,
    words_of,
)
from fedmed_transforms.dicom.pixels.workers import in_turn
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.slices import Slice

UPLOAD_BYTES = 2**26
"""Bytes of pinned memory that are filled before they go up together."""


def read_voxels(slices: list[Slice], rules: SeriesRules, device: torch.device) -> torch.Tensor:
    """Reads the modality's values of slices.

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
    if slices[0].tile is not None:
        return read_tiles(slices, lambda pictures: read_voxels(pictures, rules, device))
    frames = plan(slices, rules)
    if is_coloured(slices[0].file):
        return torch.stack([_colours(frame, device) for frame in frames])
    pixels = frames[0].pixels
    out = empty_values((len(frames), pixels.rows, pixels.columns), device)
    fill_here(out, frames) if device.type == "cpu" else fill_on_device(out, frames)
    return out


@dataclass(frozen=True, eq=False)
class Frame:
    """The plan for reading one slice's pixels: their format, their meaning and where they lie."""

    item: Slice
    pixels: PixelFormat
    meaning: Meaning
    native: bool
    swap: bool
    encoded: bytes

    @property
    def kind(self) -> tuple[PixelFormat, Meaning, bool, bool]:
        """The properties by which frames are grouped: frames of one kind are converted together."""
        return self.pixels, self.meaning, self.native, self.swap


def plan(slices: list[Slice], rules: SeriesRules) -> list[Frame]:
    """Plans the reading of slices and checks it before memory is allocated.

    Raises
    ------
    ValueError
        A header contradicts itself, or the file is too short for it; the message names the file.
    """
    encoded = _encoded(slices)
    frames = [_frame(item, rules.padding == "keep", encoded) for item in slices]
    for frame in frames:
        if frame.native:
            check_length(frame.item.file, frame.pixels.frame_bytes)
    return frames


def fill_here(out: torch.Tensor, frames: list[Frame]) -> None:
    """Fills (frames, rows, columns) on the CPU, one frame a thread at a time."""
    values = out.numpy()

    def fill(index: int) -> None:
        frame = frames[index]
        _fill(values[index], words_of(_raw(frame), frame.pixels, frame.swap), frame)

    in_turn(fill, range(len(frames)))
    _resolve(values, frames)


def fill_on_device(out: torch.Tensor, frames: list[Frame]) -> None:
    """Fills (frames, rows, columns) on any device; frames of one kind are uploaded together and converted there.
    """
    start = 0
    for _, same in groupby(frames, key=lambda frame: frame.kind):
        for part in _parts(list(same)):
            first = part[0]
            words = (
                None
                if first.native
                else gpu_frames.decode([f.encoded for f in part], [f.item for f in part], out.device)
            )
            if words is None:
                words = words_of(_upload(part, out.device), first.pixels, first.swap)
            _fill_together(out[start : start + len(part)], words, part)
            start += len(part)
    _resolve(out, frames)


def _fill(out: Array, words: Array, frame: Frame) -> None:
    """Fills (rows, columns) with the values of a frame's words; an error names the frame."""
    try:
        fill_values(out, words, frame.pixels, frame.meaning)
    except Damaged as error:
        raise ValueError(f"{frame.item.name}: found {error}") from error


def _fill_together(out: Array, words: Array, part: list[Frame]) -> None:
    """Fills (frames, rows, columns) with the values of frames of one kind; an error names the first frame it is in."""
    try:
        fill_values(out, words, part[0].pixels, part[0].meaning)
    except Damaged:
        for index, frame in enumerate(part):
            _fill(out[index], words[index], frame)
        raise


def stored_values(frame: Frame) -> Array:
    """Reads the stored integers of a frame of one sample, at most 16 bits, (rows, columns) int64, on the CPU."""
    words = words_of(_raw(frame), frame.pixels, frame.swap)
    values = np.empty(words.shape, dtype=np.float32)
    fill_values(values, words, frame.pixels, Meaning())
    return values.astype(np.int64)


def _resolve(values: Array, frames: list[Frame]) -> None:
    padded = [index for index, frame in enumerate(frames) if frame.meaning.padding is not None]
    if padded:
        lowest = min(float(part.min()) for part in values)
        in_turn(lambda index: resolve_padding(values[index], lowest), padded)


def _raw(frame: Frame) -> Words:
    """Reads a frame's words as bytes, (frame bytes,) uint8: as in the file if native, else as decoded."""
    if frame.native:
        raw: Words = np.empty(frame.pixels.frame_bytes, dtype=np.uint8)
        read_native(frame.item.file, frame.item.frame, raw)
        return raw
    return np.ascontiguousarray(_decoded(frame)).reshape(-1).view(np.uint8)  # (rows, columns) -> (bytes,)


def _decoded(frame: Frame) -> Words:
    file = frame.item.file
    return decode(file, frame.encoded) if frame.encoded else decode_native(file, frame.item.frame)


def _upload(part: list[Frame], device: torch.device) -> torch.Tensor:
    """Uploads frames' words as bytes to the device, (frames, frame bytes) uint8."""
    size = (len(part), part[0].pixels.frame_bytes)
    pinned = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    rows = pinned.numpy()

    def read(index: int) -> None:
        frame = part[index]
        if frame.native:
            read_native(frame.item.file, frame.item.frame, rows[index])
        else:
            rows[index] = _raw(frame)

    in_turn(read, range(len(part)))
    return pinned.to(device, non_blocking=True)  # the pinned memory is not handed out again before the copy is done


def _parts(group: list[Frame]) -> Iterator[list[Frame]]:
    size = max(1, UPLOAD_BYTES // group[0].pixels.frame_bytes)
    return (group[start : start + size] for start in range(0, len(group), size))


def _colours(frame: Frame, device: torch.device) -> torch.Tensor:
    """Reads a frame of colours, (rows, columns, 3) in [0, 1]; the stored bits must be the lowest of a word."""
    pixels = frame.pixels
    words = _decoded(frame)
    palette = samples_of(frame.item.file) == 1
    full = np.iinfo(words.dtype).max if palette else 2**pixels.stored - 1
    if pixels.high_bit != pixels.stored - 1:
        found = f"HighBit {pixels.high_bit} and BitsStored {pixels.stored}"
        raise ValueError(f"{frame.item.name}: expected a HighBit of BitsStored - 1 for colours, found {found}")
    whole = words.astype(np.int32 if words.dtype.itemsize < 4 else np.int64) & full  # other bits may hold anything
    return (torch.from_numpy(whole).to(device).double() / float(full)).float()


def _encoded(slices: list[Slice]) -> dict[int, list[bytes]]:
    """Reads the compressed frames of every compressed file, by the file's id."""
    files: dict[int, DicomFile] = {id(item.file): item.file for item in slices}
    return {key: encoded_frames(file) for key, file in files.items() if file.transfer_syntax.is_encapsulated}


def _bytes_of(item: Slice, encoded: dict[int, list[bytes]]) -> bytes:
    return encoded[id(item.file)][item.frame] if id(item.file) in encoded else b""


def _frame(item: Slice, keep_padding: bool, encoded: dict[int, list[bytes]]) -> Frame:
    native = is_native(item.file)
    try:
        encoded_frame = _bytes_of(item, encoded)
        pixels = pixel_format(item.file.header, item.file.keyword, is_as_stored(item.file, encoded_frame))
        meaning = meaning_of(item, keep_padding)
    except Damaged as error:
        raise ValueError(f"{item.file.name}: {error}") from error
    except Exception as error:  # an element of several values, or of none
        found = error_text(error)
        raise ValueError(f"{item.file.name}: expected readable elements of its pixels, found {found}") from error
    swap = native and not item.file.transfer_syntax.is_little_endian
    return Frame(item, pixels, meaning, native, swap, encoded_frame)
