"""PNG files chunk by chunk, as encoders write that keep what Pillow does not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

GREY, COLOURS, PALETTE, GREY_ALPHA, COLOURS_ALPHA = 0, 2, 3, 4, 6
"""Colour types (PNG 3rd edition, 11.2.1)."""


def write_png(
    path: Path, rows: Sequence[bytes], columns: int, depth: int, colour: int, *more: tuple[bytes, bytes],
    last: tuple[tuple[bytes, bytes], ...] = (),
) -> Path:  # fmt: skip
    """Writes a PNG of the given rows, packed as the file stores them, with more chunks before and after the image."""
    head = struct.pack(">IIBBBBB", columns, len(rows), depth, colour, 0, 0, 0)
    image = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", head), *more, (b"IDAT", image), *last, (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def exif(orientation: int) -> bytes:
    """An EXIF block that states an orientation and nothing else."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
