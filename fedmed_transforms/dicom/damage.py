"""Error messages for damaged files. They never quote header values, which may be a patient's name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

TEXTS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UT")
"""Value representations of characters (PS3.5, 6.2)."""

NUMBERS = ("DS", "FD", "FL", "IS", "SL", "SS", "UL", "US")

CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]|\0(?=[^\0 ])")
"""Bytes that no text holds (PS3.5, 6.1.3), but the head of an element does that a wrong length made part of it."""

NUMERALS = re.compile(rb"[0-9eE+. \\-]*\0?")
"""Decimal strings, several of them separated by backslashes."""

PLAIN = (*TEXTS, *NUMBERS)
"""Value representations whose bytes alone tell whether an element reads."""

LONGEST = 64
"""Bytes of a value that is remembered as one that reads."""

CODE = re.compile(r"[A-Z]{2,16}|[0-9]{1,6}|[0-9]+(\.[0-9]+)+")
"""A modality, a small number, a UID: too short a part of a text or of a date to identify a person."""


class Damaged(ValueError):
    """An error in a file, described in the words of this package; the message quotes only numbers and codes."""


def error_text(error: BaseException) -> str:
    """Describes an error for a message: by its kind, or by its own message where it is :class:`Damaged`.
    """
    return str(error) if isinstance(error, Damaged) else type(error).__name__


def decoder_error_text(error: BaseException) -> str:
    """Takes the last line of a decoder's message: it has only seen a frame and the elements that describe it.
    """
    lines = str(error).strip().split("\n")
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines[-1] else type(error).__name__


def safe_code(value: object) -> str:
    """Returns a modality, a small number or a UID as it is; any other value is not repeated."""
    text = str(value)
    return text if CODE.fullmatch(text) else "something else"


def check_elements(header: Dataset, keywords: Iterable[str]) -> None:
    """Reads elements, so that an error in one of them is raised here.

    Parameters
    ----------
    header
        Of the file; the elements stay converted in it.
    keywords
        Elements without which an image would be misunderstood.

    Raises
    ------
    Damaged
        An element does not read as its kind; the message names it.
    """
    named = _by_tag(tuple(keywords))
    for element in list(header.values()):
        keyword = named.get(element.tag)
        if keyword is not None and not _is_known(element, keyword):
            _check_element(header, keyword)


def _is_known(element: DataElement | RawDataElement, keyword: str) -> bool:
    """Checks whether an element that is not converted yet holds bytes that read as its kind.

    The files of a series hold mostly the same bytes, and are not converted to find that out.
    """
    if not isinstance(element, RawDataElement) or element.VR not in PLAIN:
        return False
    value = element.value or b""
    if element.VR == "DS" and not _expected(keyword)[1]:
        return NUMERALS.fullmatch(value) is not None  # converting them takes longer than reading the rest of a header
    return len(value) <= LONGEST and _reads(keyword, element.VR, value, element.is_little_endian)


@lru_cache(maxsize=2**12)
def _reads(keyword: str, representation: str, value: bytes, little: bool) -> bool:
    """Checks whether the bytes of an element read as its kind."""
    tag = _expected(keyword)[0]
    element = RawDataElement(tag, representation, len(value), value, 0, False, little)
    header = Dataset({tag: element})
    try:
        _check_element(header, keyword)
    except Damaged:
        return False
    return True


def _check_element(header: Dataset, keyword: str) -> None:
    """Reads an element of a header; raises :class:`Damaged` where it does not read as its kind."""
    tag = _expected(keyword)[0]
    if _is_torn(header.get_item(tag)):
        raise Damaged(f"{keyword} that holds no text")
    try:
        value = header[tag].value
    except Exception as error:  # the parser raises a dozen kinds
        raise Damaged(f"an unreadable {keyword}, {type(error).__name__}") from error
    _check_kind(value, keyword)


@lru_cache(maxsize=64)
def _by_tag(keywords: tuple[str, ...]) -> dict[BaseTag, str]:
    """Looks up the tags of keywords."""
    return {_expected(keyword)[0]: keyword for keyword in keywords}


@lru_cache(maxsize=None)
def _expected(keyword: str) -> tuple[BaseTag, bool, bool]:
    """Looks up a known element: its tag, whether it has one value, and whether it is a number."""
    tag = BaseTag(tag_for_keyword(keyword) or 0)
    return tag, dictionary_VM(tag) == "1", all(part in NUMBERS for part in dictionary_VR(tag).split(" or "))


def _check_kind(value: Any, keyword: str) -> None:
    """Checks that an element has one value, and a number, where the standard requires it."""
    tag, single, numeric = _expected(keyword)
    several = isinstance(value, MultiValue)
    if several and single:
        raise Damaged(f"{len(value)} values of {keyword}, expected one")
    values = value if several else [value]
    if numeric and not all(part is None or part == "" or isinstance(part, (int, float, Decimal)) for part in values):
        raise Damaged(f"a {keyword} that is no number")
    if dictionary_VR(tag) == "US" and not all(0 <= int(part or 0) < 2**16 for part in values):
        raise Damaged(f"a {keyword} of more than 16 bits")


def drop_torn(header: Dataset, keywords: Iterable[str]) -> None:
    """Removes elements that only describe the image, where they do not read as text."""
    named = _by_tag(tuple(keywords))
    for element in list(header.values()):
        if element.tag in named and _is_torn(element):
            del header[element.tag]


def _is_torn(element: DataElement | RawDataElement | None) -> bool:
    """Checks, before the parser reads it, whether a text element holds bytes that no text holds."""
    if not isinstance(element, RawDataElement) or not element.value:
        return False
    return representation_of(element) in TEXTS and CONTROL.search(element.value) is not None


def representation_of(element: DataElement | RawDataElement) -> str:
    """Returns the value representation of an element: the file's, or the standard's where the file states none."""
    if element.VR:
        return str(element.VR)
    return dictionary_VR(element.tag) if keyword_for_tag(element.tag) else "UN"
