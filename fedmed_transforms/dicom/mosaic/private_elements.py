"""Reads private elements of a header, also those that a converter left with an unknown representation."""

from __future__ import annotations

import io
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.values import convert_SQ

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.dicom_file import DicomFile

REMOVED = "de-identification may have removed its private elements; expected the file of the scanner"
"""End of the message for a picture without the elements by which it is read."""


def read_whole_header(file: DicomFile) -> Dataset:
    """Reads all elements before the pixels, also those that the file was not asked for at first."""
    source = io.BytesIO(file.source) if isinstance(file.source, bytes) else file.source
    return pydicom.dcmread(source, stop_before_pixels=True, force=True)


def private_value(header: Dataset, group: int, creator: str, element: int) -> Any:
    """Reads a private element by its creator; None where it is absent.

    Source: DICOM PS3.5, 7.8.1 (private data elements).
    """
    try:
        return header.private_block(group, creator)[element].value
    except KeyError:
        return None


def whole_number(value: Any, name: str) -> int | None:
    """Converts the value of an element that counts; None where it is empty.

    Raises
    ------
    Damaged
        It is no whole number; the message names the element.
    """
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip(" \0")
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Damaged(f"a {name} that is no number") from None
    if not number.is_integer():
        raise Damaged(f"a {name} that is no whole number")
    return int(number)


def items_of(value: Any) -> list[Dataset]:
    """Returns the items of a sequence; one of unknown representation is implicit little endian (PS3.5, 6.2.2)."""
    if isinstance(value, bytes):
        return list(convert_SQ(value, True, True))
    return list(value or [])
