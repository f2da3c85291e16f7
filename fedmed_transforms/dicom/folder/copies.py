"""Finds files that hold one instance twice, as media and archives leave them behind."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import safe_code
from fedmed_transforms.dicom.dicom_file import DicomFile, Source, text_of


def without_copies(files: Sequence[DicomFile], keep_differing: bool) -> list[DicomFile]:
    """Leaves out files that hold an instance a second time.

    Parameters
    ----------
    files
        Of one series.
    keep_differing
        Whether files of one SOPInstanceUID with different content stay, for the rule ``duplicates="drop"``, which
        compares their pixels.

    Raises
    ------
    ValueError
        Two files have one SOPInstanceUID and different content; the message names them.
    """
    kept: dict[str, list[DicomFile]] = {}
    uids = [text_of(file.header, "SOPInstanceUID") or file.name for file in files]
    if len(set(uids)) == len(files):
        return list(files)
    for uid, file in zip(uids, files, strict=True):
        known = kept.setdefault(uid, [])
        if any(_is_copy(file, other) for other in known):
            continue
        if known and not keep_differing:
            raise ValueError(
                f"{file.name}: expected another SOPInstanceUID than that of {known[0].name}, as their contents differ, "
                f"found {safe_code(uid)}; the rule duplicates='drop' drops it if its pixels are the same"
            )
        known.append(file)
    held = {id(file) for group in kept.values() for file in group}
    return [file for file in files if id(file) in held]


def _is_copy(file: DicomFile, other: DicomFile) -> bool:
    """Checks whether two files are the same, or hold the same elements in another encoding."""
    first, second = _content(file.source), _content(other.source)
    if first == second:
        return True
    try:
        return _elements(first) == _elements(second)
    except Exception:  # the parser raises a dozen kinds; a file that does not read whole is the copy of none
        return False


def _content(source: Source) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source


def _elements(content: bytes) -> Dataset:
    """Reads all elements of a file besides those of its encoding."""
    return Dataset({element.tag: element for element in pydicom.dcmread(io.BytesIO(content), force=True)})
