"""Describes a text of a file: the element that holds it, and whether only programs write such a text."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TypeAlias

Content: TypeAlias = bytes | mmap.mmap
"""The bytes of a file."""


@dataclass(frozen=True)
class FileText:
    """A text in a file that is no DICOM.

    Attributes
    ----------
    element
        The format and the name of the text's field, such as ``EXIF Artist``.
    value
        The text; empty for thumbnails and other content that is no text.
    technical
        Whether the field holds the name of a program or a device, and no text of a person.
    """

    element: str
    value: str = ""
    technical: bool = False


def decoded(value: object) -> str:
    """Decodes a value of a field as text: UTF-8, else Latin-1; without zeros and blanks around it."""
    if isinstance(value, bytes):
        for encoding in ("utf-8", "latin-1"):
            try:
                return value.decode(encoding).strip(" \0\r\n\t")
            except UnicodeDecodeError:
                continue
    return str(value).strip(" \0\r\n\t")
