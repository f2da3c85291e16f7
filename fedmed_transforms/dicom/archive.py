"""Reads DICOM files in a zip without unpacking it to disk, with a bound on their size."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fedmed_transforms.dicom.headers.file_start import START, is_dicom_content

LARGEST_CONTENT = 2**33
"""Bytes that all DICOM files of a zip may hold together."""

SURELY_HELD = 2**28
"""Bytes that a zip may hold however small it is."""

USUAL_RATIO = 128
"""The largest usual ratio of the files' size to their zip's: images compress ten times, blank ones more."""

LARGEST_RATIO = 1032
"""Deflate cannot expand more than this (zlib's technical details), so an entry that claims to is false."""

MOST_MEMBERS = 100_000


def dicom_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the content of each DICOM file in a zip, in the order of the names.

    DICOMDIRs and hidden files are skipped, which only list or accompany images.

    Raises
    ------
    ValueError
        The zip is damaged, encrypted, or holds more than it may; the message names it.
    """
    yield from _members(path, _may_be_image, is_dicom_content)


def all_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the content of each file in a zip, as :func:`dicom_members` does."""
    yield from _members(path, lambda entry: True, lambda start: True)


def _members(
    path: Path, is_listed: Callable[[zipfile.ZipInfo], bool], is_read: Callable[[bytes], bool]
) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = (entry for entry in archive.infolist() if not entry.is_dir() and is_listed(entry))
            members = sorted(entries, key=lambda entry: entry.filename)
            if len(members) > MOST_MEMBERS:
                raise ValueError(f"{len(members)} files in it, expected at most {MOST_MEMBERS}")
            left = min(LARGEST_CONTENT, max(SURELY_HELD, USUAL_RATIO * path.stat().st_size))
            for entry in members:
                content = _content(archive, entry, left, is_read)
                if content:
                    left -= len(content)
                    yield entry.filename, content
    except Exception as error:  # a damaged zip leads to errors of zipfile, zlib, lzma and struct
        raise ValueError(f"{path}: expected a zip with DICOM files, found {type(error).__name__}: {error}") from error


def _may_be_image(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename.rsplit("/", 1)[-1]
    return not name.startswith(".") and not name.upper().startswith("DICOMDIR")


def _content(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int, is_read: Callable[[bytes], bool]
) -> bytes:
    """Reads the bytes of an entry; empty if its start shows that it is not to be read."""
    with archive.open(entry) as member:
        start = member.read(START)
        if not is_read(start):
            return b""
        if entry.file_size > left or entry.file_size > LARGEST_RATIO * max(1, entry.compress_size):
            raise ValueError(f"{entry.filename} of {entry.file_size} bytes, expected at most {left} more")
        return start + member.read(entry.file_size - len(start))
