"""Lists the files of a folder or of a zip, with what each of them is named and how its bytes are read."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedmed_transforms.dicom.archive import all_members
from fedmed_transforms.dicom.header_index import LONG, SHORT, is_dicom_content
from fedmed_transforms.dicom.series import DICOM_SUFFIXES, is_archive
from fedmed_transforms.patients.formats.file_text import Content
from fedmed_transforms.patients.formats.known_formats import START, Format, format_of, opened

FIRST_GROUPS = (0x0002, 0x0008)


def begins_data_set(start: bytes) -> bool:
    """Checks whether the bytes are the first elements of a DICOM file without a preamble, in any of three encodings."""
    for order in ("<", ">"):
        if len(start) < 16:
            return False
        group, element, representation, short = struct.unpack_from(f"{order}HH2sH", start)
        if group not in FIRST_GROUPS or element > 0x20:
            continue
        if representation in SHORT | LONG:
            return True
        length = struct.unpack_from(f"{order}L", start, 4)[0]
        after = start[8 + length : 10 + length]
        if order == "<" and length % 2 == 0 and length <= 64 and after in (b"\x02\0", b"\x08\0") and element in FIRST:
            return True
    return False


FIRST = (0x0000, 0x0001, 0x0005, 0x0008, 0x0012, 0x0016)
"""Elements with which an implicit data set begins."""


@dataclass(frozen=True)
class FoundFile:
    """A file below a folder, or in a zip.

    Attributes
    ----------
    path
        The file, or the zip that holds it.
    name
        The path below the folder; for a member of a zip its name.
    content
        The bytes of a member of a zip; None for a file.
    """

    path: Path
    name: str
    content: bytes | None = None

    def start(self) -> bytes:
        """Reads the bytes by which the format is recognized."""
        if self.content is not None:
            return self.content[:START]
        with self.path.open("rb") as file:
            return file.read(START)

    def opened(self) -> Content:
        """Returns the bytes, those of a file mapped into memory."""
        return opened(self.path) if self.content is None else self.content

    def is_dicom(self, start: bytes) -> bool:
        """Checks whether the file is DICOM: by its suffix, its magic bytes, or its first element."""
        named = self.name.lower().endswith(DICOM_SUFFIXES)
        return named or is_dicom_content(start) or (begins_data_set(start) and format_of(start) is None)

    @staticmethod
    def format(start: bytes) -> Format | None:
        """Recognizes the format of a file that is no DICOM."""
        return format_of(start)


def list_files(path: Path) -> Iterator[FoundFile]:
    """Lists a file, or all files below a folder by path; a folder that links repeat is read once.

    Raises
    ------
    ValueError
        The path does not exist, or a folder cannot be read; the message names it.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_file():
        yield FoundFile(path, path.name)
        return
    walked = set()
    for folder, below, names in os.walk(path, followlinks=True, onerror=_raise):
        if (real := os.path.realpath(folder)) in walked:
            below.clear()
            continue
        walked.add(real)
        below.sort()
        files = (Path(folder, name) for name in sorted(names))
        yield from (FoundFile(file, file.relative_to(path).as_posix()) for file in files if file.is_file())


def _raise(error: OSError) -> None:
    raise ValueError(f"{error.filename}: expected a folder that can be read, found {type(error).__name__}")


def with_members(file: FoundFile) -> Iterator[FoundFile]:
    """Yields a file, or each file in a zip."""
    if file.content is None and is_archive(file.path):
        yield from (FoundFile(file.path, name, content) for name, content in all_members(file.path))
    else:
        yield file


def has_comment(file: FoundFile) -> bool:
    """Checks whether a zip or one of its members has a comment."""
    if file.content is not None or not is_archive(file.path):
        return False
    with zipfile.ZipFile(file.path) as archive:
        return bool(archive.comment or any(entry.comment for entry in archive.infolist()))
