"""Loads a NIfTI file as a tensor: nibabel reads the header, the voxels go to the device as the file stores them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmed_transforms.dicom.pixels.scaling import empty_values, scale_into, swap_bytes, view
from fedmed_transforms.dicom.pixels.workers import in_turn
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.image_metadata import FULL_SCALE, STORED_TYPE, Loaded, metadata_of
from fedmed_transforms.loading.formats.content import found_text
from fedmed_transforms.loading.formats.nifti_header import (
    NIFTI_SUFFIXES,
    affine_of,
    offset_of,
    read_nifti_header,
    scaling_of,
    voxel_file,
)
from fedmed_transforms.loading.formats.voxel_checks import replace_not_finite
from fedmed_transforms.loading.inflate import PIECE, check_size, read_pieces
from fedmed_transforms.loading.refusing_reader import RefusingReader

VOXEL_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
"""Data types that a voxel may have, by numpy's names."""

CONTENTS = ("NIfTI", "gzip")

COLOURS = {3: "RGB24", 4: "RGBA32"}


def load_nifti(path: Path, device: torch.device, rules: SeriesRules | None = None, label: bool = False) -> Loaded:
    """Loads the values and the metadata of a NIfTI-1 or NIfTI-2 file, single or pair, compressed or not.

    Parameters
    ----------
    path
        The file; either file of a pair.
    device
        The device of the values; byte order and scaling are applied on the device.
    rules
        The rule ``nan``.
    label
        Whether the file is a label, in which no number stands for voxels that are not finite.

    Returns
    -------
    tuple
        (C, X, Y, Z) float32, one channel for each entry of a fourth axis, colours as channels in [0, 255]; the metadata
        that MONAI's transforms need, with nibabel's choice of sform or qform as affine, mm, RAS, whatever the unit of
        the file.

    Raises
    ------
    ValueError
        The file is no NIfTI file, is damaged, is shorter than its header says, holds complex numbers, or voxels that
        are not finite and no rule ``nan``; the message names the file.
    """
    try:
        header = read_nifti_header(path)
        affine, nan = affine_of(header), None if label or rules is None else rules.nan
        values = _read(header, voxel_file(path, header), device, nan)
        dtype = np.dtype(header.get_data_dtype())
        meta = {**metadata_of(path, affine, values.shape[1:]), STORED_TYPE: "uint8" if dtype.names else dtype.name}
        return values, {**meta, FULL_SCALE: 255.0} if dtype.names else meta
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # nibabel raises many kinds of errors
        found = found_text(path, error, CONTENTS)
        raise ValueError(f"{path}: expected a readable NIfTI, found {found}") from error


def _read(header: Any, file: Path, device: torch.device, nan: float | None) -> torch.Tensor:
    shape = _four_axes(tuple(int(side) for side in header.get_data_shape()))
    voxels, dtype = prod(shape), np.dtype(header.get_data_dtype())
    colours = len(dtype.names) if dtype.names else 1
    word = np.dtype(np.uint8) if dtype.names else dtype
    if word.name not in VOXEL_TYPES or (dtype.names and colours not in COLOURS):
        raise ValueError(f"voxels of type {dtype}, expected integers, floats, RGB or RGBA")
    if min(shape) < 1:
        raise ValueError(f"shape {shape}, expected at least one voxel along each axis")
    offset = offset_of(header)
    check_size(file, offset + voxels * dtype.itemsize)
    pieces = read_pieces(file, offset, voxels * dtype.itemsize)
    flat = empty_values((voxels * colours,), device)
    _fill(flat, pieces, word, scaling_of(header), nan)
    if dtype.names:
        return flat.reshape(*shape[:3][::-1], colours)[..., :3].permute(3, 2, 1, 0)  # (Z, Y, X, 3) -> (3, X, Y, Z)
    return flat.reshape(shape[::-1]).permute(0, 3, 2, 1)  # (C, Z, Y, X) -> (C, X, Y, Z)


def _fill(
    flat: torch.Tensor,
    pieces: Iterator[np.ndarray],
    word: np.dtype[Any],
    scaling: tuple[float, float],
    nan: float | None,
) -> None:
    """Fills the values piece by piece, while the next piece is inflated."""
    on_cpu = flat.device.type == "cpu"
    values = flat.numpy() if on_cpu else flat
    swap = word.byteorder == ">"

    def convert(task: tuple[int, np.ndarray]) -> None:
        begin, raw = task
        placed = raw if on_cpu else _upload(raw, flat.device)
        words = view(swap_bytes(placed, word.itemsize) if swap else placed, word.name)
        part = values[begin : begin + len(words)]
        scale_into(part, words, *scaling)
        if word.kind == "f":
            replace_not_finite(part, nan)

    begins = count(0, PIECE // word.itemsize)
    in_turn(convert, zip(begins, pieces, strict=False))


def _upload(raw: np.ndarray, device: torch.device) -> torch.Tensor:
    held = torch.from_numpy(raw)
    return (held.pin_memory() if device.type == "cuda" else held).to(device, non_blocking=True)


def _four_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape (X, Y, Z, C) of a file: a flat file has one slice; axes after the fourth have length one."""
    if len(shape) > 4:
        long = [side for side in shape[3:] if side != 1]
        if len(long) > 1:
            raise ValueError(f"shape {shape}, expected at most four axes longer than one")
        shape = (*shape[:3], *(long or [1]))
    if len(shape) < 2:
        raise ValueError(f"shape {shape}, expected at least two axes")
    return (*shape, *(1,) * (4 - len(shape)))


class NiftiReader(RefusingReader):
    """Reads NIfTI for MONAI's ``LoadImage(reader="fedmed_transforms.NiftiReader")``.

    Parameters
    ----------
    device
        The device of the values.
    **rules
        Keywords of :class:`fedmed_transforms.SeriesRules`; ``nan`` is used.

    Examples
    --------
    >>> from importlib.resources import files
    >>> from monai.transforms import LoadImage
    >>> load = LoadImage("fedmed_transforms.NiftiReader", image_only=True)
    >>> load(files("nibabel") / "tests" / "data" / "anatomical.nii").shape
    torch.Size([1, 33, 41, 25])
    """

    suffixes = NIFTI_SUFFIXES

    def load(self, path: Path) -> Loaded:
        """Loads the values (C, X, Y, Z) and the metadata of a path."""
        return load_nifti(path, self.device, self.rules)
