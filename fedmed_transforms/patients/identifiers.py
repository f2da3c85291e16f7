"""Checks image files for direct identifiers, and writes copies without them.

Run ``python -m fedmed_transforms identifiers FOLDER``. The exit status is 0 without identifiers, 1 with identifiers,
and 2 for a folder that cannot be read. ``--clean CLEANED`` writes a copy of the folder without identifiers instead;
then the status is 1 if files were left out of the copy.
"""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from fedmed_transforms.patients.cleaning.folder import clean_folder
from fedmed_transforms.patients.search import Finding, describe, find_identifiers

__all__ = ["CheckIdentifiersd", "Finding", "describe", "find_identifiers", "main"]


class CheckIdentifiersd(MapTransform):
    """Refuses an image whose files hold direct identifiers; place it before the transform that loads the image.

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
    ValueError: ...CT_small.dcm: expected files without direct identifiers, found DataSetTrailingPadding in 1 file, ...
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Checks the files of every key and returns the data unchanged."""
        for key in self.key_iterator(data):
            findings = find_identifiers(data[key])
            if findings:
                raise ValueError(f"{data[key]}: expected files without direct identifiers, found {describe(findings)}")
        return dict(data)


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m fedmed_transforms identifiers", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clean", type=Path, metavar="CLEANED", help="a folder for a copy without identifiers")
    parser.add_argument("--key_file", type=Path, help="a file with a secret: copies with one secret belong together")
    given = parser.parse_args()
    try:
        if given.clean is None:
            return _check(given.folder)
        key = None if given.key_file is None else given.key_file.read_bytes()
        return _clean(given.folder, given.clean, key)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _check(folder: Path) -> int:
    findings = find_identifiers(folder)
    if not findings:
        print(f"{folder}: found no direct identifiers")
        return 0
    _print_table(("element", "files", "first file"), [(it.element, str(it.files), str(it.first)) for it in findings])
    return 1


def _clean(folder: Path, target: Path, key: bytes | None) -> int:
    left_out = clean_folder(folder, target, key)
    files = sum(path.is_file() for path in target.rglob("*"))
    print(f"{target}: wrote {files} file{'s' * (files != 1)} without identifiers, left out {len(left_out)}")
    if left_out:
        _print_table(("left out", "", "reason"), [(it.name, "", it.reason) for it in left_out])
    return 1 if left_out else 0


def _print_table(head: tuple[str, str, str], rows: Sequence[tuple[str, str, str]]) -> None:
    width = max(len(first) for first, _, _ in rows)
    for first, number, last in (head, *rows):
        print(f"{first:{width}}  {number:>7}  {last}")
