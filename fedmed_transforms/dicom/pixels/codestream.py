"""Reads the declared size of a JPEG, JPEG-LS or JPEG 2000 frame, so that it can be checked before decoding."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

STANDALONE_MARKERS = (*range(0xD0, 0xDA), 0x01)
"""JPEG markers without a length (ITU-T T.81, B.1.1.3): restart, start and end of image, TEM."""

NOT_FRAME_MARKERS = (0xC4, 0xC8, 0xCC)
"""Markers between 0xC0 and 0xCF that start no frame: tables, extensions, conditioning."""

JPEG_LS_FRAME = 0xF7
END_OF_IMAGE = b"\xff\xd9"
"""Ends a JPEG and a JPEG-LS image (EOI), and a JPEG 2000 codestream (EOC)."""

PADDED_END = 64
"""Last bytes in which the end must be found: encoders pad frames to even or aligned lengths."""

MOST_SAMPLES = {0xC0: 256, 0xC1: 256, 0xC3: 8}
"""Samples that a byte holds at most: a block of 64 takes two bits or more (sequential), a sample one (lossless)."""

JPEG_2000 = b"\xff\x4f\xff\x51"
"""Start of a codestream, and of its size, which comes next (ITU-T T.800, A.4)."""

SECOND_IMAGE = re.compile(rb"\xff\xd9\0?(?:\xff\xd8\xff|\xff\x4f\xff\x51)")
"""The end of an image and the start of another, at once or after a pad byte; no codestream holds its own end."""

RUN_LENGTH_HEADER = 64
"""Bytes of the header of a frame of run lengths, and the offset of its first segment (PS3.5, G.5)."""

JPEG_2000_CONTAINER = b"\0\0\0\x0c"
"""Start of a JP2 file: the length of its signature box (ITU-T T.800, I.5.1)."""


@dataclass(frozen=True)
class Codestream:
    """The size that a compressed frame declares.

    Attributes
    ----------
    rows, columns, samples
        Of the decoded frame.
    precision
        Bits of a sample.
    lossless
        Whether it is JPEG lossless (process 14), whatever its predictor.
    most_samples
        Samples that a byte of it holds at most, 0 where nothing bounds them.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    lossless: bool = False
    most_samples: int = 0


def without_container(frame: bytes) -> bytes:
    """Takes a JPEG 2000 codestream out of the JP2 container that some files put it in (PS3.5, A.4.4 wants it bare)."""
    return frame[max(0, frame.find(JPEG_2000)) :] if frame[:4] == JPEG_2000_CONTAINER else frame


def run_length_start(segments: int) -> bytes:
    """Returns the first bytes of a frame of run lengths in so many segments (PS3.5, G.5)."""
    return struct.pack("<LL", segments, RUN_LENGTH_HEADER)


def has_second_frame(frame: bytes, segments: int) -> bool:
    """Checks whether the header of another frame follows in the bytes of a frame of run lengths."""
    start, place = run_length_start(segments), 0
    while (place := frame.find(start, place + 1)) > 0:
        offsets = struct.unpack("<15L", frame[place + 4 : place + RUN_LENGTH_HEADER].ljust(60, b"\xff"))
        if list(offsets[:segments]) == sorted(set(offsets[:segments])) and not any(offsets[segments:]):
            return True
    return False


def read_codestream(frame: bytes) -> Codestream:
    """Reads the size that a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream declares.

    Source: ITU-T T.81 B.2.2, T.87 C.2.2, T.800 A.5.1.

    Raises
    ------
    ValueError
        The frame is none of these, is cut off before its size or its end, or is followed by another.
    """
    if END_OF_IMAGE not in frame[-PADDED_END:]:  # decoders invent the missing part, or run for seconds
        raise ValueError("a codestream without an end")
    if SECOND_IMAGE.search(frame):
        raise ValueError("a second codestream behind the first")
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    if frame[:4] == JPEG_2000:
        return _jpeg_2000(frame)
    raise ValueError("no JPEG, JPEG-LS or JPEG 2000 codestream")


def _jpeg(frame: bytes) -> Codestream:
    place = 2
    while place + 4 <= len(frame):
        if frame[place] != 0xFF:
            break
        marker = frame[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker in STANDALONE_MARKERS:
            place += 2
            continue
        if marker == JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in NOT_FRAME_MARKERS):
            if place + 10 > len(frame):
                break
            precision, rows, columns, samples = struct.unpack(">BHHB", frame[place + 4 : place + 10])
            most = MOST_SAMPLES.get(marker, 0)
            return Codestream(rows, columns, samples, precision, lossless=marker == 0xC3, most_samples=most)
        place += 2 + struct.unpack(">H", frame[place + 2 : place + 4])[0]
    raise ValueError("a JPEG codestream without a frame header")


def _jpeg_2000(frame: bytes) -> Codestream:
    size = frame[6:43]
    if len(size) < 37:
        raise ValueError("a JPEG 2000 codestream without its size")
    _, right, bottom, left, top, _, _, _, _, samples, depth = struct.unpack(">HLLLLLLLLHB", size)
    return Codestream(bottom - top, right - left, samples, (depth & 0x7F) + 1)
