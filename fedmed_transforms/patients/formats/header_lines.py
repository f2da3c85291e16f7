"""Finds text in the header lines of NRRD and MetaImage files, and writes the files without it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import prod

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.patients.formats.file_text import Content, FileText, decoded

NRRD_SIGNATURE = b"NRRD000"
LARGEST_HEADER = 2**22

NRRD_FIELDS = frozenset(
    "type dimension sizes spacings thicknesses endian encoding min max oldmin oldmax datafile lineskip byteskip "
    "spacedirections space spacedimension spaceorigin measurementframe kinds centers centerings axismins axismaxs "
    "blocksize axismin axismax number".split()
)
"""Fields of NRRD that hold numbers and words of the format, without the blanks in their names."""

NRRD_TEXTS = frozenset("content labels units spaceunits sampleunits".split())

NRRD_UNITS = re.compile(r'("(mm|um|µm|cm|m|s|ms|)"\s*|mm|um|cm|m|s|ms|none|\?\?\?)*')

META_FIELDS = frozenset(
    "objecttype objectsubtype ndims binarydata binarydatabyteordermsb elementbyteordermsb compresseddata "
    "compresseddatasize transformmatrix rotation orientation offset origin position centerofrotation "
    "anatomicalorientation elementspacing elementsize elementsizevalid dimsize headersize elementnumberofchannels "
    "elementtype elementdatafile elementmin elementmax elementtointensityfunctionslope "
    "elementtointensityfunctionoffset modality distanceunits acquisitiondate itk_inputfiltername color id parentid "
    "sequenceid compressionlevel".split()
)
"""Fields of MetaImage that hold numbers and words of the format."""

NRRD_BYTES = {
    **dict.fromkeys("int8 uint8 uchar char int8_t uint8_t signedchar unsignedchar".split(), 1),
    **dict.fromkeys("short shortint int16 ushort uint16 int16_t uint16_t signedshort unsignedshort".split(), 2),
    **dict.fromkeys("int uint int32 uint32 int32_t uint32_t signedint unsignedint float".split(), 4),
    **dict.fromkeys("longlong ulonglong int64 uint64 int64_t uint64_t double".split(), 8),
}
META_BYTES = {
    "met_char": 1, "met_uchar": 1, "met_short": 2, "met_ushort": 2, "met_int": 4, "met_uint": 4, "met_float": 4,
    "met_long_long": 8, "met_ulong_long": 8, "met_double": 8,
}  # fmt: skip
"""Bytes of a voxel by its type."""

META_START = re.compile(rb"\s*(ObjectType|NDims|Comment|ObjectSubType|Name)\s*=", re.IGNORECASE)


def is_meta(start: bytes) -> bool:
    """Checks whether a file begins as MetaImage does."""
    return META_START.match(start) is not None


def nrrd_texts(content: Content) -> Iterator[FileText]:
    """Lists comments, key-value pairs and texts of an NRRD header."""
    lines, data = _nrrd_lines(content)
    for line in lines[1:]:
        text = decoded(line)
        if text.startswith("#"):
            generated = text.startswith(("# Complete NRRD file format", "# http://teem.sourceforge.net"))
            yield FileText("NRRD comment", text.lstrip("# "), technical=generated)
        elif ":=" in text:
            yield FileText("NRRD key-value pair", text)
        elif (value := text.partition(":")[2].strip()) and not _is_nrrd_field(text):
            yield FileText(f"NRRD {_nrrd_name(text)}", value)
    yield from _after(content, data, _nrrd_length(lines), "NRRD")


def _after(content: Content, begin: int, length: int | None, name: str) -> Iterator[FileText]:
    """Reports bytes after uncompressed data."""
    if length is not None and len(content) > begin + length:
        more = bytes(content[begin + length : begin + length + 4096])
        yield FileText(f"bytes after the voxels of {name}", decoded(more))


def _fields(lines: list[bytes], separator: str) -> dict[str, str]:
    pairs = (decoded(line).partition(separator) for line in lines)
    return {re.sub(r"\s", "", name.lower()): value.strip().lower() for name, _, value in pairs if value}


def _nrrd_length(lines: list[bytes]) -> int | None:
    """Computes the bytes of raw data that follow the header; None for other data."""
    fields = _fields(lines[1:], ":")
    size = NRRD_BYTES.get(re.sub(r"\s", "", fields.get("type", "")))
    if size is None or fields.get("encoding") != "raw" or {"datafile", "lineskip", "byteskip"} & set(fields):
        return None
    return size * prod(int(side) for side in fields.get("sizes", "").split() if side.isdigit())


def _meta_length(lines: list[bytes]) -> int | None:
    """Computes the bytes of uncompressed data that follow the header; None for other data."""
    fields = _fields(lines, "=")
    size = META_BYTES.get(fields.get("elementtype", ""))
    if size is None or fields.get("elementdatafile") != "local" or fields.get("compresseddata", "false") == "true":
        return None
    channels = int(fields.get("elementnumberofchannels", "1"))
    return size * channels * prod(int(side) for side in fields.get("dimsize", "").split() if side.isdigit())


def _nrrd_name(line: str) -> str:
    name = re.sub(r"\s", "", line.partition(":")[0].lower())
    return name if name in NRRD_FIELDS | NRRD_TEXTS else "field of another name"


def _is_nrrd_field(line: str) -> bool:
    name, value = _nrrd_name(line), line.partition(":")[2].strip()
    return name in NRRD_FIELDS or (name.endswith("units") and NRRD_UNITS.fullmatch(value) is not None)


def _nrrd_lines(content: Content) -> tuple[list[bytes], int]:
    """Splits a header into its lines, up to the empty line; returns the place of the data, too."""
    head = bytes(content[:LARGEST_HEADER])
    found = re.search(rb"\r?\n\r?\n", head)
    end = found.end() if found else len(head)
    return [line.rstrip(b"\r") for line in head[:end].strip(b"\r\n").split(b"\n")], end


def nrrd_without_texts(content: bytes) -> bytes:
    """Keeps the fields of the format, and the data bit for bit."""
    lines, data = _nrrd_lines(content)
    kept = [line for line in lines[1:] if _is_kept_nrrd(decoded(line))]
    listed = lines[len(lines) - _listed_files(lines) :] if _listed_files(lines) else []
    length = _nrrd_length(lines)
    return b"\n".join([lines[0], *kept, *listed]) + b"\n\n" + content[data : None if length is None else data + length]


def _is_kept_nrrd(line: str) -> bool:
    return not line.startswith("#") and ":=" not in line and ":" in line and _is_nrrd_field(line)


def _listed_files(lines: list[bytes]) -> int:
    """Counts the lines after ``data file: LIST``, which name files."""
    places = [index for index, line in enumerate(lines) if re.match(rb"data ?file:\s*LIST", line, re.IGNORECASE)]
    return len(lines) - 1 - places[0] if places else 0


def meta_texts(content: Content) -> Iterator[FileText]:
    """Lists the comments, names and unknown fields of a MetaImage header."""
    lines, data = _meta_lines(content)
    yield from _after(content, data, _meta_length(lines), "MetaImage")
    for line in lines:
        name, _, value = decoded(line).partition("=")
        key = name.strip().lower()
        if value.strip() and key not in META_FIELDS:
            known = key in ("comment", "name", "acquisitionplace", "patientname", "patientid")
            yield FileText(f"MetaImage {name.strip() if known else 'field of another name'}", value.strip())


def _meta_lines(content: Content) -> tuple[list[bytes], int]:
    """Splits a header into its lines, up to ElementDataFile; returns the place of what follows, too."""
    head = bytes(content[:LARGEST_HEADER])
    found = re.search(rb"(?im)^[ \t]*ElementDataFile[ \t]*=[^\r\n]*(\r?\n|$)", head)
    if not found:
        raise Damaged("a MetaImage header without ElementDataFile")
    return [line.rstrip(b"\r") for line in head[: found.end()].strip(b"\r\n").split(b"\n")], found.end()


def meta_without_texts(content: bytes) -> bytes:
    """Keeps the fields of the format, and the data bit for bit."""
    lines, data = _meta_lines(content)
    kept = [line for line in lines if decoded(line).partition("=")[0].strip().lower() in META_FIELDS]
    length = _meta_length(lines)
    return b"\n".join(kept) + b"\n" + content[data : None if length is None else data + length]


def with_data_file(content: bytes, renamed: Callable[[str], str]) -> bytes:
    """Gives the data files that a header names the names of the cleaned copy."""
    pattern = rb"(?im)^([ \t]*(?:data ?file|ElementDataFile)[ \t]*[:=][ \t]*)([^\r\n]+?)[ \t]*(?=\r?\n|$)"

    def replace(found: re.Match[bytes]) -> bytes:
        name = found[2].decode("utf-8", "replace")
        return found[1] + (found[2] if name in ("LOCAL", "LIST") else renamed(name).encode())

    return re.sub(pattern, replace, content[:LARGEST_HEADER], count=1) + content[LARGEST_HEADER:]
