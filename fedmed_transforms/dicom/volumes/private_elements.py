"""Manufacturers' own elements that tell volumes apart: b-values, and the kind of a complex image's part."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

BLOCKS = range(0x10, 0x20)
"""Blocks of a private group that are looked at (PS3.5, 7.8.1); scanners use the first ones."""

GE_B_VALUE = 100_000
"""GE adds a multiple of 10^9 to its b-values in some versions; what is below this number is the b-value."""

GE_COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")


@dataclass(frozen=True)
class PrivateElement:
    """An element of a manufacturer: its group, the last byte of its tag, the creator of its block, and its kind.

    The kind of its values is a format of :mod:`struct`, for files that state none; empty for text.
    """

    group: int
    byte: int
    creator: str
    kind: str = ""

    def find(self, header: Dataset) -> tuple[BaseTag, str]:
        """Finds the element's tag and value as text, empty where it is absent.

        A block without a named creator is taken as well: de-identification often removes the creators.
        """
        for block in BLOCKS:
            tag = Tag(self.group, block << 8 | self.byte)
            creator = header.get(Tag(self.group, block))
            named = str(creator.value).strip() if creator is not None else ""
            if tag in header and named in ("", self.creator):
                return tag, _text(header, tag, self.kind)
        return Tag(self.group, BLOCKS[0] << 8 | self.byte), ""


SIEMENS_B_VALUE = PrivateElement(0x0019, 0x0C, "SIEMENS MR HEADER")
GE_B_VALUES = PrivateElement(0x0043, 0x39, "GEMS_PARM_01")
GE_COMPONENT = PrivateElement(0x0043, 0x2F, "GEMS_PARM_01", "<h")
PHILIPS_B_VALUE = PrivateElement(0x2001, 0x03, "Philips Imaging DD 001", "<f")
UIH_B_VALUE = PrivateElement(0x0065, 0x09, "Image Private Header", "<d")

ALL = (SIEMENS_B_VALUE, GE_B_VALUES, GE_COMPONENT, PHILIPS_B_VALUE, UIH_B_VALUE)

PRIVATE_TAGS = frozenset(
    [element.group << 16 | block << 8 | element.byte for element in ALL for block in BLOCKS]
    + [element.group << 16 | block for element in ALL for block in BLOCKS]
)
"""The tags of these elements and of their blocks' creators."""


def private_b_value(header: Dataset) -> tuple[str, float | None]:
    """Reads the b-value, s/mm^2, from the element of Siemens, GE, Philips or UIH, and names the element."""
    for element in (SIEMENS_B_VALUE, GE_B_VALUES, PHILIPS_B_VALUE, UIH_B_VALUE):
        tag, text = element.find(header)
        try:
            value = float(text.split("\\")[0])
        except ValueError:
            continue
        return _name("b-value", tag), value % GE_B_VALUE if element is GE_B_VALUES else value
    return "DiffusionBValue", None


def private_component(header: Dataset) -> tuple[str, str | None]:
    """Reads whether GE's image is a magnitude, a phase, a real or an imaginary part, and names the element."""
    tag, text = GE_COMPONENT.find(header)
    number = text.split("\\")[0].strip()
    known = number.isdecimal() and int(number) < len(GE_COMPONENTS)
    return _name("image component", tag), GE_COMPONENTS[int(number)] if known else None


def _name(meaning: str, tag: BaseTag) -> str:
    return f"the {meaning} ({tag.group:04X},{tag.element:04X})"


def _text(header: Dataset, tag: BaseTag, kind: str) -> str:
    """Reads a private element in DICOM's text form; empty where it is damaged."""
    try:
        value = header[tag].value
        if isinstance(value, bytes) and kind:  # of unknown representation
            value = struct.unpack_from(kind, value)[0]
    except Exception:  # the parser raises a dozen kinds
        return ""
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip(" \0")
    return "\\".join(map(str, value)) if isinstance(value, (list, MultiValue)) else str(value)
