"""Finds direct identifiers in DICOM files: lists their elements, counts the files, and never quotes a value.

Run ``python -m fedmed_transforms identifiers FOLDER``. The exit status is 0 without identifiers, 1 with identifiers,
and 2 for a folder that cannot be read.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from fedmed_transforms.dicom.archive import dicom_members
from fedmed_transforms.dicom.series import is_archive, is_dicom
from fedmed_transforms.patients.identifying_elements import identifying_elements


@dataclass(frozen=True)
class Finding:
    """Describes a kind of identifier that was found.

    Attributes
    ----------
    element
        The keyword of the element, or ``private: CREATOR`` for private elements.
    files
        The number of files with the element.
    first
        The first of these files, in the order of their paths.
    """

    element: str
    files: int
    first: Path


def find_identifiers(paths: str | Path | Sequence[str | Path]) -> list[Finding]:
    """Finds direct identifiers in DICOM files, by the rule of :mod:`fedmed_transforms.patients.identifying_elements`.

    Parameters
    ----------
    paths
        Files, zips, and folders with all folders below them, including hidden files and the targets of links. DICOM
        files are recognized by their content; other files are skipped, and names of files are not checked.

    Returns
    -------
    list
        One finding for each element, in the order of their names.

    Raises
    ------
    ValueError
        A path does not exist, or a DICOM file does not decode; the message names the path.
    """
    given = [paths] if isinstance(paths, (str, Path)) else paths
    files: dict[str, list[Path]] = {}
    for path in (file for entry in given for file in _files(Path(entry))):
        for element in _elements(path):
            files.setdefault(element, []).append(path)
    return [Finding(element, len(holders), holders[0]) for element, holders in sorted(files.items())]


def _elements(path: Path) -> Iterator[str]:
    """Lists the identifying elements of a file, or of each DICOM file in a zip."""
    if is_archive(path):
        for _, content in dicom_members(path, images=False):
            yield from identifying_elements(path, content)
    elif is_dicom(path):
        yield from identifying_elements(path)


def _files(path: Path) -> Iterator[Path]:
    """Lists a file, or all files below a folder by path; a folder that links repeat is read once."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_file():
        yield path
        return
    walked = set()
    for folder, below, names in os.walk(path, followlinks=True, onerror=_raise):
        if (real := os.path.realpath(folder)) in walked:
            below.clear()
            continue
        walked.add(real)
        below.sort()
        yield from (file for name in sorted(names) if (file := Path(folder, name)).is_file())


def _raise(error: OSError) -> None:
    raise ValueError(f"{error.filename}: expected a folder that can be read, found {type(error).__name__}")


def describe(findings: Sequence[Finding]) -> str:
    """Describes findings for an error message: elements with the number of files, without paths."""
    return ", ".join(f"{found.element} in {found.files} file{'s' * (found.files > 1)}" for found in findings)


class CheckIdentifiersd(MapTransform):
    """Refuses an image whose DICOM files hold direct identifiers; place it before the transform that loads the image.

    Parameters
    ----------
    keys
        Entries of the data that hold a path: a file, or a folder with a series.

    Raises
    ------
    ValueError
        A file holds direct identifiers; the message names the path and the elements.

    Examples
    --------
    >>> from fedmed_transforms import CheckIdentifiersd
    >>> from pydicom.data import get_testdata_file
    >>> CheckIdentifiersd("image")({"image": get_testdata_file("CT_small.dcm")})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...CT_small.dcm: expected DICOM without direct identifiers, found InstitutionName in 1 file, ...
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Checks the files of every key and returns the data unchanged."""
        for key in self.key_iterator(data):
            findings = find_identifiers(data[key])
            if findings:
                raise ValueError(f"{data[key]}: expected DICOM without direct identifiers, found {describe(findings)}")
        return dict(data)


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m fedmed_transforms identifiers", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        findings = find_identifiers(folder)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if not findings:
        print(f"{folder}: found no direct identifiers in DICOM files")
        return 0
    width = max(len(found.element) for found in findings)
    print(f"{'element':{width}}  {'files':>7}  first file")
    for found in findings:
        print(f"{found.element:{width}}  {found.files:>7}  {found.first}")
    return 1
