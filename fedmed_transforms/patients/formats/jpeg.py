"""Finds text in JPEG files and writes them without it: segments are dropped, and no pixel is compressed again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.patients.formats.exif import (
    exif_texts,
    orientation_exif,
    orientation_of,
    photoshop_texts,
    profile_texts,
    xmp_texts,
)
from fedmed_transforms.patients.formats.file_text import Content, FileText, decoded

SIGNATURE = b"\xff\xd8\xff"
COMMENT, APP0, APP1, APP2, APP13, APP14, APP15 = 0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF
SCAN, END = 0xDA, 0xD9

TECHNICAL_COMMENTS = re.compile(
    r"(?i)(CREATOR: gd-jpeg|LEAD Technologies|Lavc|Intel\(R\) JPEG|Created with GIMP|Created by accusoft|AppleMark|"
    r"Optimized by JPEGmini|Compressed by jpeg-recompress|File written by Adobe Photoshop|ImageMagick)"
)
"""Beginnings of the comments that programs write."""

_after_scan = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def segments(content: Content) -> Iterator[tuple[int, int, int]]:
    """Yields marker, begin and end of each segment, a scan with its data, up to the end of the picture.

    Raises
    ------
    Damaged
        The content does not follow the format.
    """
    position = 2
    while True:
        begin = position
        while content[position : position + 2] == b"\xff\xff":
            position += 1
        head = content[position : position + 4]
        if len(head) < 2 or head[0] != 0xFF:
            raise Damaged("a JPEG without the marker of its end")
        marker = head[1]
        if marker == END:
            yield marker, begin, position + 2
            return
        position += 2 + int.from_bytes(head[2:], "big")
        if marker == SCAN:
            found = _after_scan.search(content, position)
            position = found.start() if found else len(content)
        yield marker, begin, position


def texts(content: Content) -> Iterator[FileText]:
    """Lists the texts, thumbnails and unknown segments of a JPEG, and the bytes after its end."""
    profile: list[bytes] = []
    end = len(content)
    for marker, begin, end in segments(content):
        value = bytes(content[begin + 4 : end])
        if marker == COMMENT and (text := decoded(value)):
            yield FileText("JPEG comment", text, TECHNICAL_COMMENTS.match(text) is not None)
        elif marker == APP2 and value.startswith(b"ICC_PROFILE\0"):
            profile.append(value[14:])
        elif APP0 <= marker <= APP15:
            yield from _application(marker - APP0, value, content)
    if profile:
        yield from profile_texts(b"".join(profile))
    if bytes(content[end:]).strip(b"\0\r\n"):
        yield FileText("bytes after the JPEG", decoded(bytes(content[end : end + 4096])))


def _application(number: int, value: bytes, picture: Content) -> Iterator[FileText]:
    if number == 0 and value.startswith(b"JFIF\0"):
        if len(value) > 14:
            yield FileText("JFIF thumbnail")
    elif number == 1 and value.startswith(b"Exif\0"):
        yield from exif_texts(value, picture)
    elif number == 1 and value.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        yield from xmp_texts(value.partition(b"\0")[2])
    elif number == 13 and value.startswith(b"Photoshop 3.0\0"):
        yield from photoshop_texts(value)
    elif not (number == 14 and value.startswith(b"Adobe")) and not (number == 12 and value.startswith(b"Ducky")):
        yield FileText(f"JPEG segment APP{number}", decoded(value[:4096]))


def without_texts(content: bytes) -> bytes:
    """Drops all segments but those that decoding needs; an orientation other than 1 stays as the only EXIF field."""
    kept, listed = [content[:2]], [(marker, content[begin:end]) for marker, begin, end in segments(content)]
    orientation = orientation_of(content)
    jfif = [value for marker, value in listed if marker == APP0 and value[4:9] == b"JFIF\0"]
    if jfif:
        kept.append(b"\xff\xe0\x00\x10" + jfif[0][4:16] + b"\0\0")
    if orientation != 1:
        exif = orientation_exif(orientation)
        kept.append(b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif)
    for marker, value in listed:
        adobe = marker == APP14 and value[4:9] == b"Adobe"
        if adobe or (marker != COMMENT and not APP0 <= marker <= APP15):
            kept.append(value[:16] if adobe else value)
    return b"".join(kept)
