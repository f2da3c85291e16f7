"""Reads the compressed frames of a file from their fragments, and refuses fragments of frames that are not declared."""

from __future__ import annotations

import struct
from typing import Any

from pydicom.encaps import generate_fragmented_frames, parse_basic_offsets, parse_fragments
from pydicom.uid import RLELossless

from fedmed_transforms.dicom.damage import decoder_error_text
from fedmed_transforms.dicom.dicom_file import DicomFile, samples_of
from fedmed_transforms.dicom.header_index import UNDEFINED_LENGTH
from fedmed_transforms.dicom.pixels.codestream import END_OF_IMAGE, JPEG_2000, JPEG_2000_CONTAINER

LARGEST_DECODED = 2**33
"""Bytes that the compressed frames of an image may decode to, as float32."""

STARTS = (b"\xff\xd8\xff", JPEG_2000, JPEG_2000_CONTAINER)
"""First bytes of a JPEG or JPEG-LS image, of a JPEG 2000 codestream, and of one in its container."""

RLE_HEADER = 64
"""Bytes of the header of a frame of run lengths, and the offset of its first segment (PS3.5, G.5)."""


def encoded_frames(file: DicomFile) -> list[bytes]:
    """Reads the compressed frames of a file.

    Source: DICOM PS3.5, A.4 (fragments of frames).

    Raises
    ------
    ValueError
        Their number is not the header's, or they decode to more than ``LARGEST_DECODED``.
    """
    header = file.header
    decoded = 4 * int(header.Rows) * int(header.Columns) * samples_of(file) * file.frames
    if decoded > LARGEST_DECODED:
        raise ValueError(f"{file.name}: expected at most {LARGEST_DECODED} bytes of decoded pixels, found {decoded}")
    try:
        frames, outside = _split(file)
    except Exception as error:
        found = decoder_error_text(error)
        raise ValueError(f"{file.name}: expected compressed frames, found damage: {found}") from error
    encoded = [frame[0] if len(frame) == 1 else b"".join(frame) for frame in frames]
    more = outside + _further_frames(file, frames, encoded) if len(frames) == file.frames else 0
    if len(frames) != file.frames or more:
        stated = "" if "NumberOfFrames" in header else " and no NumberOfFrames"
        raise ValueError(f"{file.name}: expected {file.frames} frames, found {len(frames) + more}{stated}")
    return encoded


def _further_frames(file: DicomFile, frames: list[tuple[bytes, ...]], encoded: list[bytes]) -> int:
    """Counts the frames that begin after the first one within the fragments of one frame."""
    starts = _starts(file)
    begun = sum(fragment.startswith(starts) for frame in frames for fragment in frame[1:])
    return begun or sum(_continues(frame, starts) for frame in encoded)


def _split(file: DicomFile) -> tuple[list[tuple[bytes, ...]], int]:
    """Splits the pixels into the fragments of each frame; counts the fragments outside all frames."""
    offsets = file.header.get("ExtendedOffsetTable"), file.header.get("ExtendedOffsetTableLengths")
    extended: Any = offsets if all(offsets) else None
    with file.open() as opened:
        content: Any = opened if file.length == UNDEFINED_LENGTH else opened.read(file.length)
        frames = list(generate_fragmented_frames(content, number_of_frames=file.frames, extended_offsets=extended))
        return frames, _fragments(file) - len(frames) if extended else 0


def _fragments(file: DicomFile) -> int:
    """Counts the fragments of a file."""
    with file.open() as opened:
        parse_basic_offsets(opened)
        return parse_fragments(opened)[0]


def _starts(file: DicomFile) -> tuple[bytes, ...]:
    """Returns the first bytes that a frame of the file's transfer syntax can have."""
    if file.transfer_syntax != RLELossless:
        return STARTS
    segments = samples_of(file) * int(file.header.BitsAllocated) // 8
    return (struct.pack("<LL", segments, RLE_HEADER),)


def _continues(encoded: bytes, starts: tuple[bytes, ...]) -> bool:
    """Checks whether another frame follows the first within the same fragments, at once or after a pad byte."""
    if starts != STARTS:
        return encoded.find(starts[0], RLE_HEADER) >= 0
    ends = (END_OF_IMAGE, END_OF_IMAGE + b"\0")
    return any(end + start in encoded for end in ends for start in starts[:2])
