"""Recognizes the format of a file by its content, and names the functions that find and remove its texts."""

from __future__ import annotations

import gzip
import mmap
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.patients.formats import header_lines, jpeg, nifti, png, tiff
from fedmed_transforms.patients.formats.file_text import Content, FileText, decoded

START = 1024
"""Bytes by which a format is recognized."""

GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Format:
    """A format of files: its name, what lists its texts, and what writes a file without them."""

    name: str
    texts: Callable[[Content], Iterator[FileText]]
    without_texts: Callable[[bytes], bytes]


def format_of(start: bytes) -> Format | None:
    """Recognizes a format by the first bytes of a file; None for a format that holds no text that is known."""
    if start.startswith(jpeg.SIGNATURE):
        return Format("JPEG", jpeg.texts, jpeg.without_texts)
    if start.startswith(png.SIGNATURE):
        return Format("PNG", png.texts, png.without_texts)
    if start.startswith(tiff.SIGNATURES):
        return Format("TIFF", tiff.texts, tiff.without_texts)
    if start.startswith(header_lines.NRRD_SIGNATURE):
        return Format("NRRD", header_lines.nrrd_texts, header_lines.nrrd_without_texts)
    if nifti.header_size(start[:544]):
        return Format("NIfTI", _nifti_texts, nifti.without_texts)
    if header_lines.is_meta(start):
        return Format("MetaImage", header_lines.meta_texts, header_lines.meta_without_texts)
    if start.startswith(b"BM") and int.from_bytes(start[6:10], "little") == 0:
        return Format("BMP", _bitmap_texts, _bitmap_without_texts)
    return _compressed(start) if start.startswith(GZIP) else None


def _nifti_texts(content: Content) -> Iterator[FileText]:
    return nifti.texts(content, len(content))


def _compressed(start: bytes) -> Format | None:
    """Recognizes a compressed NIfTI."""
    try:
        inner = zlib.decompressobj(31).decompress(start, 544)
    except zlib.error:
        return None
    return Format("NIfTI", _compressed_texts, _compressed_without_texts) if nifti.header_size(inner) else None


def _compressed_texts(content: Content) -> Iterator[FileText]:
    """Lists the texts of a compressed NIfTI: its header's, its extensions, and the name that gzip stores."""
    inflate = partial(_inflated, content)
    offset = nifti.voxel_offset(inflate(544))
    if offset > nifti.LARGEST_EXTENSIONS:
        raise Damaged(f"{offset} bytes before the voxels, expected at most {nifti.LARGEST_EXTENSIONS}")
    length = int.from_bytes(content[-4:], "little")
    yield from nifti.texts(inflate(offset), length if len(content) < 2**30 else None)
    yield from (FileText(f"gzip {name}", text, name == "name") for name, text in _gzip_texts(content))


def _inflated(content: Content, length: int) -> bytes:
    return zlib.decompressobj(31).decompress(bytes(content[: 2 * length + 2**16]), length)


def _gzip_texts(content: Content) -> Iterator[tuple[str, str]]:
    """Lists the file name and the comment of a gzip header (RFC 1952, 2.3)."""
    flags, position = content[3], 10
    if flags & 4:
        position += 2 + int.from_bytes(content[10:12], "little")
    for bit, name in ((8, "name"), (16, "comment")):
        if flags & bit:
            end = content.find(b"\0", position)
            yield name, decoded(bytes(content[position:end]))
            position = end + 1


def _compressed_without_texts(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(content)) as file:
        start = file.read(544)
        inflated = start + file.read(max(0, nifti.single_length(start) - len(start)))  # no more than its header states
    return gzip.compress(nifti.without_texts(inflated), 6, mtime=0)


def _bitmap_texts(content: Content) -> Iterator[FileText]:
    end = int.from_bytes(content[2:6], "little")
    if bytes(content[end:]).strip(b"\0"):
        yield FileText("bytes after the BMP", decoded(bytes(content[end : end + 4096])))
    return


def _bitmap_without_texts(content: bytes) -> bytes:
    return content[: int.from_bytes(content[2:6], "little")]


def opened(path: Path) -> Content:
    """Maps a file into memory, so that only what is searched is read from the disk."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
