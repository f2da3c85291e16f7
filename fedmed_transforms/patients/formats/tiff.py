"""Finds text in TIFF files and writes them without it: all bytes but those of the pages' pixels become zero.

The places of the pixels stay the same, so that no offset has to be found and changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from PIL.ExifTags import TAGS

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.patients.formats.exif import exif_texts, photoshop_texts, profile_texts, xmp_texts
from fedmed_transforms.patients.formats.file_text import Content, FileText, decoded

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
"""Bytes of a value by its type (TIFF 6.0, section 2; BigTIFF)."""

STRIPS = {273: 279, 324: 325}
"""Tags of the offsets of strips and tiles, with the tags of their lengths."""

KEPT = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 286, 287, 290)
    + (291, 292, 293, 296, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 332, 334, 336, 338, 339, 340, 341, 347)
    + (529, 530, 531, 532)
)
"""Tags without which the pixels are not decoded or shown."""

TECHNICAL_TAGS = frozenset((271, 272, 305, 306, 333))
"""Make, Model, Software, DateTime, InkNames."""

DESCRIPTION = 270
XMP, IPTC, PHOTOSHOP, PROFILE, EXIF, GPS = 700, 33723, 34377, 34675, 34665, 34853
SUB_DIRECTORIES, INTEROPERABILITY = 330, 40965

PROGRAM_DESCRIPTIONS = re.compile(r'(ImageJ=[\d.a-z]+(\n[a-z]+=[-\d.eE a-zµ\\]*)*|\{"shape": \[[\d, ]*\]\})\s*$')
"""Descriptions that ImageJ and tifffile write: numbers and sizes."""

WORD = re.compile(rb"[^\0-\x1f]{3}")
"""Three characters: less may be numbers, which tifffile leaves behind the last of several pages."""


@dataclass(frozen=True)
class Entry:
    """An entry of a directory: its tag, type and number of values, its own place, and the place of its value."""

    tag: int
    kind: int
    count: int
    begin: int
    value: int

    @property
    def size(self) -> int:
        """Bytes of the value."""
        return self.count * (SIZES[self.kind] if self.kind < len(SIZES) else 1)


class Directories:
    """The directories of a TIFF, one for each page.

    Raises
    ------
    Damaged
        The content does not follow the format.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        self.order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
        self.big = content[2:4] in (b"+\0", b"\0+")
        self.word, self.entry = (8, 20) if self.big else (4, 12)
        self.first = 8 if self.big else 4
        self.pages = list(self._pages())

    def number(self, position: int, size: int) -> int:
        """Reads an unsigned number."""
        value = bytes(self.content[position : position + size])
        if len(value) < size:
            raise Damaged("a TIFF that ends within a directory")
        return int.from_bytes(value, self.order)

    def _pages(self) -> Iterator[tuple[int, list[Entry]]]:
        seen: set[int] = set()
        position = self.number(self.first, self.word)
        while position:
            if position in seen:
                raise Damaged("a TIFF whose directories form a circle")
            seen.add(position)
            entries = list(self._entries(position))
            yield position, entries
            position = self.number(self.end(position, len(entries)), self.word)

    def end(self, position: int, count: int) -> int:
        """Returns the place of the offset of the next directory."""
        return position + (8 if self.big else 2) + count * self.entry

    def _entries(self, position: int) -> Iterator[Entry]:
        begin = position + (8 if self.big else 2)
        for index in range(self.number(position, 8 if self.big else 2)):
            place = begin + index * self.entry
            tag, kind = self.number(place, 2), self.number(place + 2, 2)
            entry = Entry(tag, kind, self.number(place + 4, self.word), place, place + 4 + self.word)
            far = entry.size > self.word
            yield Entry(tag, kind, entry.count, place, self.number(entry.value, self.word)) if far else entry

    def numbers(self, entry: Entry) -> list[int]:
        """Reads the unsigned numbers of an entry."""
        size = SIZES[entry.kind]
        return [self.number(entry.value + index * size, size) for index in range(entry.count)]

    def bytes_of(self, entry: Entry) -> bytes:
        """Reads the value of an entry."""
        return bytes(self.content[entry.value : entry.value + entry.size])


def texts(content: Content) -> Iterator[FileText]:
    """Lists the texts of all pages of a TIFF, and of its EXIF block."""
    directories = Directories(content)
    for _, entries in directories.pages:
        for entry in entries:
            yield from _texts(entry, directories.bytes_of(entry))
    if any(entry.tag in (EXIF, GPS) for _, entries in directories.pages for entry in entries):
        named = {f"EXIF {TAGS.get(entry.tag)}" for _, entries in directories.pages for entry in entries}
        yield from (it for it in exif_texts(bytes(content)) if it.element not in named)
    behind = _behind(directories)
    if WORD.search(behind.replace(b"\0", b"")):
        yield FileText("bytes after the TIFF", decoded(behind))


def _behind(directories: Directories) -> bytes:
    """Returns the bytes behind the last place that a directory names; nothing if a directory may lie there."""
    ends = [directories.first + directories.word]
    for position, entries in directories.pages:
        if any(entry.tag in (EXIF, GPS, INTEROPERABILITY, SUB_DIRECTORIES) for entry in entries):
            return b""
        ends.append(directories.end(position, len(entries)) + directories.word)
        ends += [entry.value + entry.size for entry in entries if entry.size > directories.word]
        ends += [begin + size for begin, size in _pixels(directories, entries)]
    return bytes(directories.content[max(ends) :]).strip(b"\0")


def _texts(entry: Entry, value: bytes) -> Iterator[FileText]:
    tag = entry.tag
    if tag == XMP:
        yield from xmp_texts(value)
    elif tag == PROFILE:
        yield from profile_texts(value)
    elif tag == PHOTOSHOP:
        yield from photoshop_texts(value)
    elif tag == IPTC:
        yield FileText("IPTC", decoded(value))
    elif tag not in KEPT and entry.kind in (1, 2, 7) and (text := decoded(value)):
        program = tag == DESCRIPTION and PROGRAM_DESCRIPTIONS.fullmatch(text) is not None
        yield FileText(f"TIFF {TAGS.get(tag, f'tag {tag}')}", text, program or tag in TECHNICAL_TAGS)


def without_texts(content: bytes) -> bytes:
    """Keeps the tags that decoding needs, and the pixels; every other byte of the file becomes zero."""
    directories = Directories(content)
    head = directories.first + directories.word
    cleaned, end = bytearray(content[:head].ljust(len(content), b"\0")), head
    for position, entries in directories.pages:
        kept = [entry for entry in entries if entry.tag in KEPT]
        end = max(end, _write_directory(cleaned, directories, position, len(entries), kept))
        far = [(entry.value, entry.size) for entry in kept if entry.size > directories.word]
        for begin, size in [*far, *_pixels(directories, kept)]:
            cleaned[begin : begin + size] = content[begin : begin + size]
            end = max(end, begin + size)
    return bytes(cleaned[:end])


def _pixels(directories: Directories, entries: list[Entry]) -> list[tuple[int, int]]:
    """Lists the offsets and lengths of a page's strips or tiles."""
    numbers = {entry.tag: directories.numbers(entry) for entry in entries if entry.tag in (*STRIPS, *STRIPS.values())}
    found = [pair for tag, lengths in STRIPS.items() for pair in zip(numbers.get(tag, ()), numbers.get(lengths, ()))]
    if not found or len(found) != sum(len(numbers.get(tag, ())) for tag in STRIPS):
        raise Damaged("a TIFF page whose pixels have no stated place and length")
    return found


def _write_directory(
    cleaned: bytearray, directories: Directories, position: int, count: int, kept: list[Entry]
) -> int:
    """Writes the kept entries of a directory and the offset of the next one; returns the end of the directory."""
    size, content = (8 if directories.big else 2), directories.content
    entries = b"".join(bytes(content[entry.begin : entry.begin + directories.entry]) for entry in kept)
    after = directories.end(position, count)
    following = bytes(content[after : after + directories.word])
    number = len(kept).to_bytes(size, directories.order)
    written = number + entries + following
    cleaned[position : position + len(written)] = written
    return position + len(written)
