"""Reads the header of a MetaImage file (.mha, or .mhd with its voxels in another file).

Source: MetaIO, docs.itk.org, "MetaIO Documentation", Reference: Tags of MetaImage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.loading.formats.stored_voxels import RAW, TEXT, ZLIB, StoredVoxels
from fedmed_transforms.loading.formats.volume_header import (
    LARGEST_HEADER,
    VolumeHeader,
    data_file,
    lengths,
    lengths_of_axes,
    numbers,
)

META_IMAGE_SUFFIXES = (".mha", ".mhd")

DATA = "ElementDataFile"

TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
"""Types of voxels by numpy's letters; MET_LONG has 4 or 8 bytes, by the program that wrote it."""

GEOMETRY = {
    "TransformMatrix": ("TransformMatrix", "Orientation", "Rotation"),
    "Offset": ("Offset", "Position", "Origin"),
    "ElementSpacing": ("ElementSpacing", "ElementSize"),
}
"""Names of each part of the geometry."""


def read_meta_image_header(path: Path) -> VolumeHeader:
    """Reads the header of a MetaImage file.

    Raises
    ------
    ValueError
        The header is damaged, or states something that is not read: the message names the entry.
    """
    entries, start = read_meta_image_entries(path)
    shape = lengths_of_axes(*((name, _entry(entries, name)) for name in ("DimSize", "NDims")))
    channels = lengths(entries.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")[0]
    if channels > 1 and len(shape) == 4:
        raise Damaged(f"{channels} channels of four axes, expected one axis of channels")
    _check_meaning(entries)
    voxels = _voxels(path, entries, start, math.prod(shape) * channels)
    stated = {name: next((entries[key] for key in keys if key in entries), "") for name, keys in GEOMETRY.items()}
    _check_numbers(stated, len(shape))
    unstated = tuple(name for name, text in stated.items() if not text) if len(shape) > 2 else ()
    colours = channels in (3, 4) and voxels.dtype == np.uint8
    whole, axis = ((channels, *shape), 0) if channels > 1 else (shape, 3 if len(shape) == 4 else None)
    return VolumeHeader(whole, axis, unstated, bool(stated["ElementSpacing"]), colours, voxels)


def read_meta_image_entries(path: Path) -> tuple[dict[str, str], int]:
    """Reads the entries of a header up to the name of the voxels' file, and the place where the header ends."""
    entries: dict[str, str] = {}
    with path.open("rb") as file:
        while file.tell() < LARGEST_HEADER:
            line = file.readline(LARGEST_HEADER)
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals:
                break
            entries[key.strip()] = value.strip()
            if key.strip() == DATA:
                return entries, file.tell()
    raise Damaged("a header without ElementDataFile" if entries else "a file that begins as no MetaImage header")


def _entry(entries: Mapping[str, str], name: str) -> str:
    if not entries.get(name):
        raise Damaged(f"no entry {name}")
    return entries[name]


def _check_meaning(entries: Mapping[str, str]) -> None:
    """Refuses entries that change the meaning of values or lengths and that readers pass over."""
    if entries.get("DistanceUnits", "mm").lower() not in ("mm", "?"):
        raise Damaged("DistanceUnits other than mm, expected mm")
    scale = entries.get("ElementToIntensityFunctionSlope", "1"), entries.get("ElementToIntensityFunctionOffset", "0")
    if tuple(float(numbers(text, "ElementToIntensityFunction", 1)[0]) for text in scale) != (1, 0):
        raise Damaged("an ElementToIntensityFunction, expected the values themselves")


def _check_numbers(stated: Mapping[str, str], axes: int) -> None:
    counts = {"TransformMatrix": axes * axes, "Offset": axes, "ElementSpacing": axes}
    found = {name: numbers(text, name, counts[name]) for name, text in stated.items() if text}
    if not all(math.isfinite(value) for values in found.values() for value in values):
        raise Damaged(f"values of {', '.join(found)} that are not finite")
    if not all(value > 0 for value in found.get("ElementSpacing", ())):
        raise Damaged(f"ElementSpacing {found['ElementSpacing']}, expected numbers above 0")


def _voxels(path: Path, entries: Mapping[str, str], start: int, count: int) -> StoredVoxels:
    letters = TYPES.get(_entry(entries, "ElementType"))
    if letters is None:
        raise Damaged("an ElementType that is not read, expected integers or floats of a fixed size")
    big = any(_is_true(entries.get(name, "False")) for name in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    encoding = ZLIB if _is_true(entries.get("CompressedData", "False")) else RAW
    if not _is_true(entries.get("BinaryData", "True")):
        encoding = TEXT
    file = path if entries[DATA].upper() == "LOCAL" else data_file(path, entries[DATA])
    skip = numbers(entries.get("HeaderSize", "0"), "HeaderSize", 1)[0]
    if skip != int(skip) or (skip != 0 and (encoding != RAW or file == path)):
        raise Damaged("a HeaderSize that is no number of bytes before raw voxels in a file of their own")
    begin = start if file == path else int(skip)
    return StoredVoxels(file, begin, encoding, np.dtype((">" if big else "<") + letters), count)


def _is_true(text: str) -> bool:
    """Checks whether an entry is true; MetaIO looks at the first letter."""
    return text[:1] in ("T", "t", "1")
