"""Reads the bytes of a NIfTI file in pieces: gzip files are inflated, and their size has a bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from fedmed_transforms.dicom.archive import LARGEST_RATIO

PIECE = 2**22
"""Number of bytes in a piece."""

READ_AT_ONCE = 2**18
GZIP = b"\x1f\x8b"
GZIP_WITH_CHECKSUM = 31  # zlib's window bits for a gzip member whose checksum is verified

Piece: TypeAlias = npt.NDArray[np.uint8]


def read_pieces(path: Path, offset: int, length: int) -> Iterator[Piece]:
    """Reads the bytes of a file from an offset, in pieces of ``PIECE`` bytes; the last piece may be shorter.

    Members of a gzip file count as one; the bytes after the voxels are skipped.

    Parameters
    ----------
    path
        The file; a gzip file is recognized by its first bytes.
    offset, length
        The first byte, and the number of bytes to read.

    Raises
    ------
    ValueError
        The file holds fewer bytes, or its checksum is wrong.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
        file.seek(0)
        yield from _cut(_inflate(file) if zipped else _plain(file), offset, length)


def check_size(path: Path, needed: int) -> None:
    """Refuses a file that cannot hold the bytes needed, before memory is reserved for them.

    Raises
    ------
    ValueError
        The file is too short, even at gzip's highest compression.
    """
    with path.open("rb") as file:
        zipped, size = file.read(2) == GZIP, file.seek(0, 2)
    if needed > size * (LARGEST_RATIO if zipped else 1) + (READ_AT_ONCE if zipped else 0):
        raise ValueError(f"{size} bytes, expected {needed}{' after inflating' if zipped else ''}")


def read_start(path: Path, length: int) -> bytes:
    """Reads the first bytes of a file, inflated if it is gzip; fewer if the file holds fewer."""
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
        file.seek(0)
        if not zipped:
            return file.read(length)
        start = b""
        for chunk in _inflate(file):
            start += chunk[:length]
            if len(start) >= length:
                break
    return start[:length]


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(PIECE):
        yield chunk


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    """Inflates all members of a gzip file; skips zeros and garbage after the last member, as gzip does."""
    held, first = file.read(READ_AT_ONCE), True
    while held and (first or held[:2] == GZIP):
        inflater: Any = isal_zlib.decompressobj(GZIP_WITH_CHECKSUM)
        first = False
        while not inflater.eof:
            if not held:
                raise ValueError("a gzip file that ends too early")
            out = inflater.decompress(held, PIECE)
            held = inflater.unconsumed_tail or b""
            if out:
                yield out
            if not held and not inflater.eof:
                held = file.read(READ_AT_ONCE)
        held = inflater.unused_data or file.read(READ_AT_ONCE)


def _cut(chunks: Iterator[bytes], offset: int, length: int) -> Iterator[Piece]:
    """Cuts the bytes from an offset into pieces; reads the chunks to their end."""
    skip, left = offset, length
    piece: Piece = np.empty(min(left, PIECE), dtype=np.uint8)
    filled = 0
    for chunk in chunks:
        view = memoryview(chunk)[skip:]
        skip = max(0, skip - len(chunk))
        while len(view) and left:
            part = min(len(view), len(piece) - filled)
            piece[filled : filled + part] = np.frombuffer(view[:part], dtype=np.uint8)
            filled, left, view = filled + part, left - part, view[part:]
            if filled == len(piece):
                yield piece
                piece, filled = np.empty(min(left, PIECE), dtype=np.uint8), 0
        if not left:
            break
    if left:
        raise ValueError(f"{length - left} bytes of voxels, expected {length}")
    _verify_end(chunks)


def _verify_end(chunks: Iterator[bytes]) -> None:
    """Reads to the end of the gzip member, so that its checksum is verified; stops if many more bytes follow."""
    for _, _chunk in zip(range(4), chunks):
        pass
