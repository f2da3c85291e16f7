"""Loads a NIfTI file as a tensor: nibabel reads the header, the voxels go to the device as the file stores them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from fedmed_transforms.dicom.pixels.scaling import empty_values, scale_into, swap_bytes, view
from fedmed_transforms.dicom.pixels.workers import in_turn
from fedmed_transforms.image_metadata import FULL_SCALE, STORED_TYPE, Loaded, metadata_of
from fedmed_transforms.loading.inflate import PIECE, check_size, read_pieces, read_start
from fedmed_transforms.loading.refusing_reader import RefusingReader

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")

VOXEL_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
"""Data types that a voxel may have, by numpy's names."""

HEADERS = (
    (nib.Nifti1Header, nib.Nifti2Header),
    (nib.nifti1.Nifti1PairHeader, nib.nifti2.Nifti2PairHeader),
)
"""nibabel's header classes for single files, and for pairs."""

COLOURS = {3: "RGB24", 4: "RGBA32"}


def load_nifti(path: Path, device: torch.device) -> Loaded:
    """Loads the values and the metadata of a NIfTI-1 or NIfTI-2 file, single or pair, compressed or not.

    Parameters
    ----------
    path
        The file; either file of a pair.
    device
        The device of the values; byte order and scaling are applied on the device.

    Returns
    -------
    tuple
        (C, X, Y, Z) float32, one channel for each entry of a fourth axis, colours as channels in [0, 255]; the metadata
        that MONAI's transforms need, with nibabel's choice of sform or qform as affine, mm, RAS.

    Raises
    ------
    ValueError
        The file is no NIfTI file, is damaged, is shorter than its header says, or holds complex numbers; the message
        names the file.
    """
    try:
        header = _header(path)
        values = _read(header, _voxel_file(path, header), device)
        return values, _metadata(path, header, values)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # nibabel raises many kinds of errors
        text = str(error).strip().split("\n")[0]
        raise ValueError(f"{path}: expected a readable NIfTI, found {type(error).__name__}: {text}") from error


def _header(path: Path) -> Any:
    """Reads the header with nibabel's checks. Extensions are not read: nibabel has no limit on their size."""
    if not path.is_file():
        raise ValueError("no such file")
    single = path.name.lower().endswith((".nii", ".nii.gz"))
    start = read_start(_file_of_pair(path, "header"), 540)
    for kind in HEADERS[0 if single else 1]:
        if kind.may_contain_header(start):
            header = kind(start[: kind.template_dtype.itemsize])
            if 3000 <= int(header["intent_code"]) < 3100:
                raise ValueError("a CIFTI file, expected an image")
            return header
    raise ValueError(f"{len(start)} bytes that begin as no NIfTI-1 or NIfTI-2 header")


def _voxel_file(path: Path, header: Any) -> Path:
    return path if header.is_single else _file_of_pair(path, "image")


def _file_of_pair(path: Path, part: str) -> Path:
    """Returns the file of a pair that holds the header or the image, by nibabel's rules of names."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return path
    return Path(nib.Nifti1Pair.filespec_to_file_map(path)[part].filename)


def _read(header: Any, file: Path, device: torch.device) -> torch.Tensor:
    shape = _four_axes(tuple(int(side) for side in header.get_data_shape()))
    voxels, dtype = prod(shape), np.dtype(header.get_data_dtype())
    slope, inter = header.get_slope_inter()
    colours = len(dtype.names) if dtype.names else 1
    word = np.dtype(np.uint8) if dtype.names else dtype
    if word.name not in VOXEL_TYPES or (dtype.names and colours not in COLOURS):
        raise ValueError(f"voxels of type {dtype}, expected integers, floats, RGB or RGBA")
    if min(shape) < 1:
        raise ValueError(f"shape {shape}, expected at least one voxel along each axis")
    offset = int(header.get_data_offset())
    check_size(file, offset + voxels * dtype.itemsize)
    pieces = read_pieces(file, offset, voxels * dtype.itemsize)
    flat = empty_values((voxels * colours,), device)
    _fill(flat, pieces, word, 1.0 if slope is None else slope, 0.0 if inter is None else inter)
    if dtype.names:
        return flat.reshape(*shape[:3][::-1], colours)[..., :3].permute(3, 2, 1, 0)  # (Z, Y, X, 3) -> (3, X, Y, Z)
    return flat.reshape(shape[::-1]).permute(0, 3, 2, 1)  # (C, Z, Y, X) -> (C, X, Y, Z)


def _fill(flat: torch.Tensor, pieces: Iterator[np.ndarray], word: np.dtype[Any], slope: float, inter: float) -> None:
    """Fills the values piece by piece, while the next piece is inflated."""
    on_cpu = flat.device.type == "cpu"
    values = flat.numpy() if on_cpu else flat
    swap = word.byteorder == ">"

    def convert(task: tuple[int, np.ndarray]) -> None:
        begin, raw = task
        placed = raw if on_cpu else _upload(raw, flat.device)
        words = view(swap_bytes(placed, word.itemsize) if swap else placed, word.name)
        scale_into(values[begin : begin + len(words)], words, slope, inter)

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


def _metadata(path: Path, header: Any, values: torch.Tensor) -> dict[str, Any]:
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError(f"an affine that cannot be inverted: {affine.tolist()}")
    dtype = np.dtype(header.get_data_dtype())
    meta = {**metadata_of(path, affine, values.shape[1:]), STORED_TYPE: "uint8" if dtype.names else dtype.name}
    return {**meta, FULL_SCALE: 255.0} if dtype.names else meta


class NiftiReader(RefusingReader):
    """Reads NIfTI for MONAI's ``LoadImage(reader="fedmed_transforms.NiftiReader")``.

    Examples
    --------
    >>> from importlib.resources import files
    >>> from monai.transforms import LoadImage
    >>> load = LoadImage("fedmed_transforms.NiftiReader", image_only=True)
    >>> load(files("nibabel") / "tests" / "data" / "anatomical.nii").shape
    torch.Size([1, 33, 41, 25])
    """

    def reads(self, path: Path) -> bool:
        """Checks whether the name of a path ends as NIfTI does."""
        return path.name.lower().endswith(NIFTI_SUFFIXES)

    def load(self, path: Path) -> Loaded:
        """Loads the values (C, X, Y, Z) and the metadata of a path."""
        return load_nifti(path, self.device)
