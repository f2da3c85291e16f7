"""Names the private elements that hold only numbers, which loading an image needs, and checks that they do."""

from __future__ import annotations

import re
from struct import calcsize

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

SAFE = {
    (0x0019, 0x0A, "SIEMENS MR HEADER"): "",  # the number of slices of a mosaic
    (0x0019, 0x0C, "SIEMENS MR HEADER"): "",  # b-value
    (0x0019, 0x0E, "SIEMENS MR HEADER"): "d",  # direction of the diffusion gradient
    (0x0043, 0x2F, "GEMS_PARM_01"): "h",  # magnitude, phase, real or imaginary
    (0x0043, 0x39, "GEMS_PARM_01"): "",  # b-value
    (0x2001, 0x03, "Philips Imaging DD 001"): "f",  # b-value
    (0x7053, 0x00, "Philips PET Private Group"): "",  # factor of SUV
    (0x7053, 0x09, "Philips PET Private Group"): "",  # factor of the activity concentration
}
"""Group, element of the block and creator, with the type of binary numbers; empty for numbers as text."""

MOST_BYTES = 96

NUMERALS = re.compile(rb"[-+0-9.eE\\ ]*\0?")


def is_safe_private(dataset: Dataset, tag: BaseTag) -> bool:
    """Checks whether a private element is one of :data:`SAFE` and holds numbers."""
    creator = dataset.get_item(BaseTag((tag.group << 16) | (tag.element >> 8)))
    name = b"" if creator is None else creator.value or b""
    text = (name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)).strip(" \0")
    kind = SAFE.get((tag.group, tag.element & 0xFF, text))
    element = dataset.get_item(tag)
    return kind is not None and element is not None and _holds_numbers(element, kind)


def _holds_numbers(element: DataElement | RawDataElement, kind: str) -> bool:
    value = element.value
    if not isinstance(element, RawDataElement):
        values = [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)
        return all(isinstance(it, (int, float)) or NUMERALS.fullmatch(str(it).encode()) for it in values)
    if not isinstance(value, bytes) or len(value) > MOST_BYTES:
        return False
    if kind and element.VR not in ("IS", "DS", "LO", "SH"):
        return len(value) % calcsize(kind) == 0
    return NUMERALS.fullmatch(value) is not None
