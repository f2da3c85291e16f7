"""Direct identifiers that are left in DICOM files: found by element, counted by file, never quoted.

Run ``python -m fedmed_transforms identifiers FOLDER``: it ends with 0 if there are none, 1 if there are some, and 2 if
the folder cannot be read.
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
    """One kind of identifier that is left.

    Attributes
    ----------
    element
        The element's keyword, or ``private: CREATOR`` of private elements.
    files
        How many files hold it.
    first
        The first of them, in the order of their paths.
    """

    element: str
    files: int
    first: Path


def find_identifiers(paths: str | Path | Sequence[str | Path]) -> list[Finding]:
    """Direct identifiers in DICOM files; which those are says :mod:`fedmed_transforms.patients.identifying_elements`.

    Parameters
    ----------
    paths
        Files, zips, and folders with all that is below them; hidden files too, and what links lead to. What is DICOM is
        told by content; other files are passed over, and no file's name is judged.

    Returns
    -------
    list
        One finding an element, in the order of their names.

    Raises
    ------
    ValueError
        A path does not exist, or a DICOM file does not decode; the message names it.
    """
    given = [paths] if isinstance(paths, (str, Path)) else paths
    files: dict[str, list[Path]] = {}
    for path in (file for entry in given for file in _files(Path(entry))):
        for element in _elements(path):
            files.setdefault(element, []).append(path)
    return [Finding(element, len(holders), holders[0]) for element, holders in sorted(files.items())]


def _elements(path: Path) -> Iterator[str]:
    """What identifies in a file, or in each DICOM file of a zip."""
    if is_archive(path):
        for _, content in dicom_members(path, images=False):
            yield from identifying_elements(path, content)
    elif is_dicom(path):
        yield from identifying_elements(path)


def _files(path: Path) -> Iterator[Path]:
    """A file, or all files below a folder, in the order of their paths; a folder that links repeat is walked once."""
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
    """Findings in a sentence, for an error: elements with the number of files, without paths."""
    return ", ".join(f"{found.element} in {found.files} file{'s' * (found.files > 1)}" for found in findings)


class CheckIdentifiersd(MapTransform):
    """Refuses an image's DICOM files that hold direct identifiers; listed before the image is loaded.

    Parameters
    ----------
    keys
        Entries of the data that hold a path: a file, or a folder with a series.

    Raises
    ------
    ValueError
        The message names the path and the elements.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The data as they are."""
        for key in self.key_iterator(data):
            findings = find_identifiers(data[key])
            if findings:
                raise ValueError(f"{data[key]}: expected DICOM without direct identifiers, found {describe(findings)}")
        return dict(data)


def main() -> int:
    """The command line."""
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
