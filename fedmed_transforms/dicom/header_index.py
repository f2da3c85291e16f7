"""Finds the elements of a header that an image needs without parsing the others, which are most of a scanner's header.

This covers the encoding that nearly all files have, explicit VR little endian, where nothing is out of the ordinary;
pydicom parses everything else. The elements found here are of pydicom's own type.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache

from pydicom.charset import convert_encodings
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

PREAMBLE = 132
"""Bytes before the first element, the last four of which are DICM (PS3.10, 7.1)."""

UNDEFINED_LENGTH = 0xFFFFFFFF

PIXELS = 0x7FE00008
"""The first of the elements that may hold pixels."""

CHARACTER_SET = 0x00080005
SYNTAX = 0x00020010
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DEEPEST = 8

SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Value representations whose length has two bytes (PS3.5, 7.1.2)."""

LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose length has four bytes, after two reserved ones (PS3.5, 7.1.2)."""

UNPARSED = frozenset([0x00409096])
"""Sequences (RealWorldValueMappingSequence) that are kept as bytes, because reading on without them is right too."""

_short = struct.Struct("<HH2sH").unpack_from
_long = struct.Struct("<L").unpack_from
_item = struct.Struct("<HHL").unpack_from


class NeedsFullParser(Exception):
    """The header must be parsed by pydicom."""


def index_header(content: bytes, wanted: frozenset[int]) -> tuple[Dataset, int] | None:
    """Finds the wanted elements of a header, in the form of pydicom's, and the place of the pixels' element.

    Parameters
    ----------
    content
        The beginning of a file.
    wanted
        Tags. None of the data set's sequences may be among those that are found.

    Returns
    -------
    tuple or None
        None where pydicom has to parse the file: another encoding, a wanted sequence, a palette, pixels that do not
        begin within the content, or anything that does not follow the standard to the letter.
    """
    if not has_preamble(content):
        return None
    try:
        elements, syntax, position = {}, "", PREAMBLE
        for tag, representation, begin, end in _elements(content):
            if tag >= PIXELS:
                position = begin
                break
            if tag == SYNTAX:
                syntax = content[begin:end].rstrip(b"\0 ").decode("ascii")
            if tag in wanted:
                if (representation == b"SQ" and tag not in UNPARSED) or representation == b"UN":
                    return None
                value = content[begin:end]
                elements[BaseTag(tag)] = RawDataElement(
                    BaseTag(tag), representation.decode("ascii"), end - begin, value, begin, False, True
                )
        if not _is_explicit(syntax) or position == PREAMBLE:
            return None
    except (NeedsFullParser, struct.error, UnicodeDecodeError):
        return None
    header = Dataset(elements)
    header.file_meta = _file_meta(syntax)
    named = elements.get(BaseTag(CHARACTER_SET))
    encoding = convert_encodings((named.value or b"").decode("ascii", "replace").split("\\")) if named else "iso8859"
    header.set_original_encoding(False, True, encoding)
    return header, position


def has_preamble(start: bytes) -> bool:
    """Checks whether the first 132 bytes of a file, or more, have the preamble and the magic bytes of DICOM."""
    return start[PREAMBLE - 4 : PREAMBLE] == b"DICM"


def tags_of(keywords: Iterator[str] | tuple[str, ...] | list[str]) -> frozenset[int]:
    """Looks up the tags of DICOM keywords, and adds the tag of the character set, which their texts need."""
    return frozenset([CHARACTER_SET, *(int(tag) for keyword in keywords if (tag := tag_for_keyword(keyword)))])


def _elements(content: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Yields tag, representation, begin and end of each value; of the pixels' element, its own begin.
    """
    position, last = PREAMBLE, 0
    while True:
        tag, representation, begin, end = _step(content, position, 0)
        if tag <= last:
            raise NeedsFullParser
        if tag >= PIXELS:
            yield tag, representation, position, position
            return
        yield tag, representation, begin, end
        position, last = end, tag


def _step(content: bytes, position: int, depth: int) -> tuple[int, bytes, int, int]:
    group, element, representation, length = _short(content, position)
    tag, begin = group << 16 | element, position + 8
    if representation in LONG:
        begin, length = position + 12, _long(content, position + 8)[0]
    elif representation not in SHORT:
        raise NeedsFullParser
    if tag >= PIXELS and depth == 0:
        return tag, representation, begin, begin
    if length == UNDEFINED_LENGTH:
        if representation != b"SQ":
            raise NeedsFullParser
        return tag, representation, begin, _after_sequence(content, begin, depth + 1)
    if length % 2 or begin + length > len(content):
        raise NeedsFullParser
    return tag, representation, begin, begin + length


def _after_sequence(content: bytes, position: int, depth: int) -> int:
    """Finds the end of a sequence of undefined length (PS3.5, 7.5)."""
    if depth > DEEPEST:
        raise NeedsFullParser
    while True:
        tag, length, position = *_tag_and_length(content, position), position + 8
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM:
            raise NeedsFullParser
        position = position + length if length != UNDEFINED_LENGTH else _after_item(content, position, depth)


def _after_item(content: bytes, position: int, depth: int) -> int:
    while _tag_and_length(content, position)[0] != ITEM_END:
        position = _step(content, position, depth)[3]
    return position + 8


def _tag_and_length(content: bytes, position: int) -> tuple[int, int]:
    group, element, length = _item(content, position)
    return group << 16 | element, length


@lru_cache(maxsize=64)
def _is_explicit(syntax: str) -> bool:
    uid = UID(syntax)
    if not uid.is_valid or not uid.is_transfer_syntax or uid == DeflatedExplicitVRLittleEndian:
        return False
    return uid.is_little_endian and not uid.is_implicit_VR


@lru_cache(maxsize=64)
def _file_meta(syntax: str) -> FileMetaDataset:
    """Builds the file meta of a transfer syntax. All headers share it, and nothing writes to it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    return meta
