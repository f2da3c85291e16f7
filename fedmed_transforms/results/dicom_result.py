"""The parts that all DICOM results share: the device and the algorithm that made them, and coded concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.silenced_parsers import silenced_parsers
from fedmed_transforms.whole_file import whole_file

MANUFACTURER = MODEL = "FedMed"
SOFTWARE_VERSION = version("fedmed")
PRIVATE_SCHEME = "99FEDMED"
"""Coding scheme of names that have no code in a public terminology; 99 marks it as private."""

CHARACTER_SET = "ISO_IR 192"
"""UTF-8: names of classes and segments may be in any language."""

COPIED_HEADER = "a header whose patient and study can be copied to a result"

LONGEST_TEXT = 64
"""Characters of a DICOM long string (LO), which labels and meanings are."""

Code: TypeAlias = Sequence[str]
"""A code's value, coding scheme and meaning, for example ``["10200004", "SCT", "Liver"]``."""

COLORS = ((86, 180, 233), (213, 94, 0), (0, 158, 115), (240, 228, 66), (204, 121, 167), (0, 114, 178), (230, 159, 0))
"""Red, green and blue in which viewers should show segments, one after the other: those of Okabe and Ito, which differ
from each other with any colour vision, and from any grey."""


@dataclass(frozen=True)
class Algorithm:
    """The algorithm that computed a result.

    Attributes
    ----------
    name, version
        For example the bundle's name and version.
    """

    name: str = MODEL
    version: str = SOFTWARE_VERSION

    @property
    def description(self) -> str:
        """Name and version, as the description of a series of results, cut to the length that DICOM allows."""
        return f"{self.name} {self.version}"[:LONGEST_TEXT].strip()


def concept(code: Code) -> CodedConcept:
    """Converts a code to highdicom's form.

    Raises
    ------
    ValueError
        It is not three texts, or its meaning is longer than DICOM allows.
    """
    if isinstance(code, str) or len(code) != 3 or not all(isinstance(part, str) and part for part in code):
        raise ValueError(f"code: expected [value, coding scheme, meaning], found {code!r}")
    return CodedConcept(code[0], code[1], checked_text(code[2], "meaning of a code"))


def checked_text(text: str, role: str) -> str:
    """Checks that a text fits a DICOM long string.

    Raises
    ------
    ValueError
        It is empty, too long, or holds a backslash or control characters, which DICOM does not allow.
    """
    if not text.strip() or len(text) > LONGEST_TEXT or "\\" in text or not text.isprintable():
        raise ValueError(f"{role} {text!r}: expected 1 to {LONGEST_TEXT} printable characters without backslash")
    return text


def save_whole(dicom: Dataset, output: str | Path) -> Path:
    """Writes a data set as a DICOM file, whole or not at all."""
    with silenced_parsers(), whole_file(Path(output)) as temporary:
        dicom.save_as(temporary, enforce_file_format=True)
    return Path(output)
