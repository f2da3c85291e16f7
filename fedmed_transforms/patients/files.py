"""Lists the files of a folder or of a zip, with what each of them is named and how its bytes are read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedmed_transforms.dicom.archive import all_members
from fedmed_transforms.dicom.headers.file_start import is_dicom_content
from fedmed_transforms.dicom.series import DICOM_SUFFIXES, is_archive
from fedmed_transforms.patients.formats.file_text import Content
from fedmed_transforms.patients.formats.known_formats import START, Format, format_of, opened


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
        """Checks whether the file is DICOM: by its suffix, its magic bytes, or its first elements."""
        return self.name.lower().endswith(DICOM_SUFFIXES) or is_dicom_content(start)

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
