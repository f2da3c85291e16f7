"""Reads the header of a NRRD file (.nrrd, or .nhdr with its voxels in another file).

Source: the NRRD file format, teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.loading.formats.stored_voxels import GZIP, HEX, RAW, TEXT, StoredVoxels
from fedmed_transforms.loading.formats.volume_header import (
    LARGEST_HEADER,
    VolumeHeader,
    data_file,
    lengths_of_axes,
    numbers,
)

NRRD_SUFFIXES = (".nrrd", ".nhdr")

MAGIC = b"NRRD000"

TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
"""Names of the types of voxels, by numpy's letters."""

ENCODINGS = {"raw": RAW, "gz": GZIP, "gzip": GZIP, "hex": HEX, "txt": TEXT, "text": TEXT, "ascii": TEXT}

BYTE_ORDERS = {"little": "<", "big": ">"}

SPACES = (
    *("left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las"),
    *("left-posterior-superior-time", "lpst"),
)
"""Names of the spaces whose axes have a direction in the patient, and which SimpleITK converts to LPS."""

COLOURS = ("rgb-color", "rgba-color", "3-color", "4-color")

IN_SPACE = ("domain", "space", "time")
"""Kinds of an axis with a direction; the fourth such axis, of times, becomes channels."""

CHANNELS = (*COLOURS, "list", "vector", "covariant-vector", "3-vector", "point", "scalar", "stub", "none", "???")
"""Kinds of an axis that become channels."""

DATA = ("data file", "datafile")


def read_nrrd_header(path: Path) -> VolumeHeader:
    """Reads the header of a NRRD file.

    Raises
    ------
    ValueError
        The header is damaged, or states something that is not read: the message names the field.
    """
    fields, start = read_nrrd_fields(path)
    shape = lengths_of_axes(*((name, _field(fields, name)) for name in ("sizes", "dimension")))
    in_space = _axes_in_space(fields, len(shape))
    channel_axis = in_space.index(False) if False in in_space else 3 if len(shape) == 4 else None
    _check_units(fields)
    _check_directions(fields)
    voxels = _voxels(path, fields, start, math.prod(shape))
    colours = any(kind in COLOURS for kind in _kinds(fields)) and voxels.dtype == np.uint8
    spaced = bool(fields.get("space directions")) or _states_spacings(fields, in_space)
    unstated = _unstated(fields) if len(shape) - (channel_axis is not None) > 2 else ()
    return VolumeHeader(shape, channel_axis, unstated, spaced, colours, voxels)


def read_nrrd_fields(path: Path) -> tuple[dict[str, str], int]:
    """Reads the fields of a header by their names in lower case, and the place where the header ends."""
    with path.open("rb") as file:
        content = file.read(LARGEST_HEADER)
    if not content.startswith(MAGIC):
        raise Damaged("a file that begins as no NRRD header")
    end = re.search(rb"\r?\n\r?\n", content)
    lines = content[: end.start() if end else len(content)].decode("latin-1").splitlines()[1:]
    pairs = (re.match(r"([^#:][^:]*): (.*)", line) for line in lines)
    fields = {pair.group(1).strip().lower(): pair.group(2).strip() for pair in pairs if pair}
    if not end and not any(name in fields for name in DATA):
        raise Damaged("a header without an end, expected an empty line before the voxels")
    return fields, end.end() if end else len(content)


def _field(fields: Mapping[str, str], name: str) -> str:
    if not fields.get(name):
        raise Damaged(f"no field `{name}`")
    return fields[name]


def _kinds(fields: Mapping[str, str]) -> list[str]:
    return fields.get("kinds", "").lower().split()


def _directions(fields: Mapping[str, str]) -> list[str]:
    return re.findall(r"none|\([^)]*\)", fields.get("space directions", "").lower())


def _axes_in_space(fields: Mapping[str, str], dimension: int) -> list[bool]:
    """Tells for each axis whether it lies in space; an axis of channels does not."""
    kinds, directions = _kinds(fields), _directions(fields)
    if (kinds and len(kinds) != dimension) or (directions and len(directions) != dimension):
        raise Damaged(f"{len(kinds)} kinds and {len(directions)} space directions, expected {dimension} of each")
    unknown = [kind for kind in kinds if kind not in (*IN_SPACE, *CHANNELS)]
    if unknown:
        raise Damaged(f"`kinds` that are not read, expected some of {', '.join((*IN_SPACE, *CHANNELS))}")
    by_kind = [kind in IN_SPACE for kind in kinds]
    by_direction = [direction != "none" for direction in directions]
    if by_kind and by_direction and by_kind != by_direction:
        raise Damaged("`kinds` and `space directions` that contradict each other")
    if not by_kind and not all(by_direction):
        raise Damaged("no `kinds`, expected the kind of the axis that has no direction")
    found = by_direction or by_kind or [True] * dimension
    if sum(found) < 2 or dimension - sum(found) > 1:
        raise Damaged(f"{sum(found)} axes in space of {dimension}, expected at least 2 and at most one other")
    return found


def _check_directions(fields: Mapping[str, str]) -> None:
    """Refuses vectors that are not finite, or of another length than there are vectors."""
    vectors = [direction for direction in _directions(fields) if direction != "none"]
    found = [numbers(vector[1:-1].replace(",", " "), "space directions", len(vectors)) for vector in vectors]
    if fields.get("space origin"):
        found.append(numbers(fields["space origin"].strip("()").replace(",", " "), "space origin"))
    if not all(math.isfinite(value) for vector in found for value in vector):
        raise Damaged("space directions or a space origin that are not finite")
    if vectors and abs(np.linalg.det(found[: len(vectors)])) == 0:
        raise Damaged("space directions that lie in one plane")


def _check_units(fields: Mapping[str, str]) -> None:
    for name in ("space units", "units"):
        stated = {unit.strip().lower() for unit in re.findall(r'"([^"]*)"', fields.get(name, ""))}
        if not stated <= {"mm", "millimeter", "millimetre", "millimeters", "millimetres", "", "???", "s", "sec", "ms"}:
            raise Damaged(f"`{name}` other than mm, expected mm")


def _unstated(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Lists the parts of the geometry that a volume's header does not state."""
    space = " ".join(fields.get("space", "").lower().split())
    found = [name for name in ("space directions", "space origin") if not fields.get(name)]
    if space not in SPACES:
        found.append("space")
    return tuple(found)


def _states_spacings(fields: Mapping[str, str], in_space: list[bool]) -> bool:
    if "spacings" not in fields:
        return False
    stated = numbers(fields["spacings"], "spacings", len(in_space))
    found = tuple(value for value, wanted in zip(stated, in_space, strict=True) if wanted)
    if all(math.isnan(value) for value in found):
        return False
    if not all(0 < value < math.inf for value in found):
        raise Damaged(f"spacings {found}, expected numbers above 0")
    return True


def _voxels(path: Path, fields: Mapping[str, str], start: int, count: int) -> StoredVoxels:
    encoding = ENCODINGS.get(_field(fields, "encoding").lower())
    if encoding is None:
        raise Damaged("an `encoding` that is not read, expected raw, gzip, hex or ascii")
    dtype = _dtype(fields, encoding)
    name = next((fields[name] for name in DATA if name in fields), "")
    skipped = {field: fields[field] for field in ("line skip", "lineskip", "byte skip", "byteskip") if field in fields}
    skip = sum(int(value) for value in lengths_or_end(skipped))
    if skip and (encoding != RAW or "line" in "".join(field for field, value in skipped.items() if value != "0")):
        raise Damaged("a `line skip`, or a `byte skip` of encoded voxels, expected voxels without it")
    file = data_file(path, name) if name else path
    begin = -1 if skip < 0 else skip + (0 if name else start)
    return StoredVoxels(file, begin, encoding, dtype, count)


def lengths_or_end(skipped: Mapping[str, str]) -> list[int]:
    """Reads numbers of bytes or lines to skip; -1 stands for voxels at the end of the file."""
    found = [numbers(value, field, 1)[0] for field, value in skipped.items()]
    if not all(value >= -1 and value == int(value) and value < 2**63 for value in found):
        raise Damaged(f"{', '.join(skipped)} that is no number of bytes")
    return [int(value) for value in found]


def _dtype(fields: Mapping[str, str], encoding: str) -> np.dtype[Any]:
    kind = " ".join(_field(fields, "type").lower().split())
    letters = next((letters for letters, names in TYPES.items() if kind in names), "")
    if not letters:
        raise Damaged("a `type` that is no integer or float")
    order = BYTE_ORDERS.get(fields.get("endian", "").lower(), "")
    if not order and letters[1] != "1" and encoding != TEXT:
        raise Damaged("no field `endian`, expected the order of the bytes of a voxel")
    return np.dtype(order + letters)
