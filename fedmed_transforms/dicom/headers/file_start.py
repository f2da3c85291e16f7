"""Recognises a DICOM file by its first bytes, also one without a preamble."""

from __future__ import annotations

import struct

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from fedmed_transforms.dicom.header_index import LONG, has_preamble

START = 512
"""Bytes at the start of a file by which DICOM is recognised."""

FIRST_GROUPS = (0x0002, 0x0008)
"""Groups of the first elements of a file without a preamble: its meta information, or the data set itself."""

ENCODINGS = (("<", True), ("<", False), (">", True))
"""Order of bytes, and whether elements state their value representation."""


def is_dicom_content(start: bytes) -> bool:
    """Checks whether the first ``START`` bytes of a file are those of a DICOM file.

    A file without a preamble is one if it begins with two elements of group 0008, or 0002, in their order, that the
    standard knows: in implicit VR little endian, or in explicit VR of either order.
    """
    return has_preamble(start) or any(_begins_with_elements(start, *encoding) for encoding in ENCODINGS)


def _begins_with_elements(start: bytes, order: str, explicit: bool) -> bool:
    position, last = 0, 0
    for _ in range(2):
        if position + 8 > len(start):
            return False
        group, element, representation, length = struct.unpack_from(order + "HH2sH", start, position)
        tag, begin = group << 16 | element, position + 8
        if group not in FIRST_GROUPS or tag <= last or not dictionary_has_tag(tag):
            return False
        if explicit and representation.decode("latin-1") not in dictionary_VR(tag).split(" or "):
            return False
        if not explicit or representation in LONG:
            place = begin if explicit else position + 4
            length, begin = struct.unpack_from(order + "L", start.ljust(place + 4), place)[0], place + 4
        position, last = begin + length, tag
    return True
