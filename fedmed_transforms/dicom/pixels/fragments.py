"""Reads the compressed frames of a file from their fragments, and refuses fragments of frames that are not declared."""

from __future__ import annotations

from typing import Any

from pydicom.encaps import generate_fragmented_frames, parse_basic_offsets, parse_fragments
from pydicom.uid import RLELossless

from fedmed_transforms.dicom.damage import decoder_error_text
from fedmed_transforms.dicom.dicom_file import DicomFile, samples_of
from fedmed_transforms.dicom.header_index import UNDEFINED_LENGTH
from fedmed_transforms.dicom.pixels.codestream import JPEG_2000, JPEG_2000_CONTAINER, run_length_start

LARGEST_DECODED = 2**33
"""Bytes that the compressed frames of an image may decode to, as float32."""

STARTS = (b"\xff\xd8\xff", JPEG_2000, JPEG_2000_CONTAINER)
"""First bytes of a JPEG or JPEG-LS image, of a JPEG 2000 codestream, and of one in its container."""


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
    count = len(frames)
    if count == file.frames:  # a frame may take in the fragments of others that begin behind it
        starts = _starts(file)
        count += outside + sum(fragment.startswith(starts) for frame in frames for fragment in frame[1:])
    if count != file.frames:
        stated = "" if "NumberOfFrames" in header else " and no NumberOfFrames"
        raise ValueError(f"{file.name}: expected {file.frames} frames, found {count}{stated}")
    return [frame[0] if len(frame) == 1 else b"".join(frame) for frame in frames]


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
    return (run_length_start(samples_of(file) * int(file.header.BitsAllocated) // 8),)
