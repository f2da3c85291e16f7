"""Finds text in PNG files and writes them without it: chunks are dropped, and the picture's own stay as they are."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.patients.formats.exif import (
    exif_texts,
    orientation_exif,
    orientation_of,
    profile_texts,
    xmp_texts,
)
from fedmed_transforms.patients.formats.file_text import Content, FileText, decoded

SIGNATURE = b"\x89PNG\r\n\x1a\n"

KEPT = frozenset(b"tRNS gAMA cHRM sRGB sBIT pHYs bKGD hIST cICP mDCV cLLI acTL fcTL fdAT".split())
"""Chunks besides the critical ones that hold numbers of the picture."""

TECHNICAL_KEYWORDS = re.compile(r"(?i)(software|creation time|date:\w+|png:.*|exif:(exif|pixel).*|author_tool)$")
"""Keywords of texts that programs write: their own name, and times."""

REGISTERED = ("Title", "Author", "Description", "Copyright", "Disclaimer", "Warning", "Source", "Comment")
"""Keywords of the standard that are repeated in a report; another keyword may be a name itself."""

LARGEST_TEXT = 2**22
"""Bytes that a compressed text is inflated to; more is no text to search."""


def chunks(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Yields the type, the begin and the end of each chunk, the check sum included.

    Raises
    ------
    Damaged
        The content ends before the chunk IEND.
    """
    position = len(SIGNATURE)
    while True:
        head = content[position : position + 8]
        end = position + 12 + int.from_bytes(head[:4], "big")
        if len(head) < 8 or end > len(content):
            raise Damaged("a PNG without its last chunk, IEND")
        yield head[4:], position, end
        if head[4:] == b"IEND":
            return
        position = end


def texts(content: Content) -> Iterator[FileText]:
    """Lists the texts and unknown chunks of a PNG, and the bytes after its end."""
    end = len(content)
    for kind, begin, end in chunks(content):
        value = bytes(content[begin + 8 : end - 4]) if kind[0] & 32 and kind not in KEPT else b""
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield from _text(kind, value)
        elif kind == b"eXIf":
            yield from exif_texts(value)
        elif kind == b"iCCP":
            yield from profile_texts(_inflated(value.partition(b"\0")[2][1:]))
        elif value and kind not in (b"tIME", b"sPLT"):
            yield FileText(f"PNG chunk {decoded(kind)}", decoded(value[:4096]))
    if bytes(content[end:]).strip(b"\0\r\n"):
        yield FileText("bytes after the PNG", decoded(bytes(content[end : end + 4096])))


def _text(kind: bytes, value: bytes) -> Iterator[FileText]:
    keyword, _, rest = value.partition(b"\0")
    if kind == b"zTXt":
        rest = _inflated(rest[1:])
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        rest = _inflated(rest) if packed else rest
    name, text = decoded(keyword), decoded(rest)
    if name == "XML:com.adobe.xmp":
        yield from xmp_texts(rest)
    elif name.lower().startswith("raw profile type"):
        yield FileText(f"PNG text {name}", text)
    elif text:
        technical = TECHNICAL_KEYWORDS.match(name) is not None
        shown = name if technical or name in REGISTERED else "of a keyword of its own"
        yield FileText(f"PNG text {shown}", text, technical)


def _inflated(value: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(value, LARGEST_TEXT)
    except zlib.error:
        return value


def without_texts(content: bytes) -> bytes:
    """Drops all chunks but those of the picture; an orientation other than 1 stays as the only EXIF field."""
    listed, kept = list(chunks(content)), [SIGNATURE]
    orientation = orientation_of(content)
    for kind, begin, end in listed:
        if not kind[0] & 32 or kind in KEPT:
            kept.append(content[begin:end])
        if kind == b"IHDR" and orientation != 1:
            kept.append(_chunk(b"eXIf", orientation_exif(orientation).removeprefix(b"Exif\0\0")))
    return b"".join(kept)


def _chunk(kind: bytes, value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + kind + value + zlib.crc32(kind + value).to_bytes(4, "big")
