"""Mends decimal strings with a comma in place of the point."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from fedmed_transforms.dicom.damage import Damaged, check_elements, representation_of

DECIMAL = re.compile(r" *[+-]?[0-9]+([.,][0-9]*)?([eE][+-]?[0-9]+)? *")
"""One decimal string, also with a decimal comma."""


def check_or_mend(header: Dataset, keywords: Iterable[str]) -> None:
    """Checks elements as :func:`check_elements`; where one does not read, again with points for decimal commas."""
    try:
        check_elements(header, keywords)
    except Damaged:
        if not mend_decimal_commas(header):
            raise
        check_elements(header, keywords)


def mend_decimal_commas(header: Dataset) -> bool:
    """Writes points for the commas of decimal strings, as programs of some countries write them.

    Values are separated by backslashes (PS3.5, 6.2), so that the comma in ``0,5\\0,7`` can only be a decimal one.
    Elements within sequences are left as they are.

    Returns
    -------
    bool
        Whether any element was changed.
    """
    mended = {tag: text for tag in header.keys() if (text := _decimals(header, tag)) and "," in text}
    for tag, text in mended.items():
        header[tag] = DataElement(tag, "DS", text.replace(",", ".").split("\\"))
    return bool(mended)


def _decimals(header: Dataset, tag: BaseTag) -> str:
    """Reads the text of an element of decimal strings; empty for an element of another kind or form."""
    element = header.get_item(tag)
    if element is None or representation_of(element) != "DS" or not element.value:
        return ""
    value = element.value
    parts = value if isinstance(value, MultiValue) else [value.decode("latin-1") if isinstance(value, bytes) else value]
    text = "\\".join(str(part) for part in parts).rstrip("\0")
    return text if all(DECIMAL.fullmatch(part) for part in text.split("\\")) else ""
