"""Reads the header of a MetaImage file (.mha, or .mhd with its voxels in another file).

Source: MetaIO, docs.itk.org, "MetaIO Documentation", Reference: Tags of MetaImage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.loading.formats.volume_header import (
    LARGEST_HEADER,
    VolumeHeader,
    check_size,
    data_file,
    lengths,
    numbers,
)

META_IMAGE_SUFFIXES = (".mha", ".mhd")

DATA = "ElementDataFile"

TYPES = {
    1: ("MET_CHAR", "MET_UCHAR"),
    2: ("MET_SHORT", "MET_USHORT"),
    4: ("MET_INT", "MET_UINT", "MET_FLOAT"),
    8: ("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"),
}
"""Names of the types of voxels by their bytes; MET_LONG has 4 or 8 bytes, by the program that wrote it."""

GEOMETRY = {
    "TransformMatrix": ("TransformMatrix", "Orientation", "Rotation"),
    "Offset": ("Offset", "Position", "Origin"),
    "ElementSpacing": ("ElementSpacing", "ElementSize"),
}
"""Names of each part of the geometry."""


def read_meta_image_header(path: Path) -> VolumeHeader:
    """Reads the header of a MetaImage file, and checks the size of its voxels.

    Raises
    ------
    ValueError
        The header is damaged, or states something that is not read: the message names the entry.
    """
    entries, start = read_meta_image_entries(path)
    shape = lengths(_entry(entries, "DimSize"), "DimSize")
    if len(shape) != int(numbers(_entry(entries, "NDims"), "NDims", 1)[0]) or not 2 <= len(shape) <= 4:
        raise Damaged(f"DimSize {shape}, expected 2 to 4 axes, as many as NDims says")
    channels = lengths(entries.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")[0]
    _check_meaning(entries)
    itemsize = _itemsize(entries)
    _check_voxels(path, entries, start, math.prod(shape) * channels * itemsize)
    stated = {name: next((entries[key] for key in keys if key in entries), "") for name, keys in GEOMETRY.items()}
    axes = min(len(shape), 3)
    unstated = tuple(name for name, text in stated.items() if not text) if axes == 3 else ()
    _check_numbers(stated, len(shape))
    colours = channels in (3, 4) and entries["ElementType"] == "MET_UCHAR"
    return VolumeHeader((*shape, channels), axes, unstated, bool(stated["ElementSpacing"]), colours)


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


def _itemsize(entries: Mapping[str, str]) -> int:
    kind = _entry(entries, "ElementType")
    size = next((size for size, names in TYPES.items() if kind in names), 0)
    if not size:
        raise Damaged("an ElementType that is not read, expected integers or floats of a fixed size")
    return size


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


def _check_voxels(path: Path, entries: Mapping[str, str], start: int, needed: int) -> None:
    name = entries[DATA]
    file = path if name.upper() == "LOCAL" else data_file(path, name)
    available = file.stat().st_size - (start if file == path else 0)
    if entries.get("BinaryData", "True").lower() in ("false", "f", "0"):
        return
    skipped = entries.get("HeaderSize", "0") not in ("0",)
    packed = entries.get("CompressedData", "False").lower() in ("true", "t", "1")
    check_size(available, needed, packed, exact=not skipped)
