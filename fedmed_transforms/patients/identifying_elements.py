"""Finds elements of a DICOM data set that identify a person directly, or the place and the device of the image.

The rule follows the basic profile of DICOM PS3.15, Annex E, for names, numbers and addresses: it finds every person
name, the elements of :mod:`fedmed_transforms.patients.identifying_keywords`, private and unknown elements, the flags
for identifying pixels, the text and the pixels of overlays and curves. The rule is a check before data leave a
site, and no de-identification: it does not check dates (except of birth and death), UIDs and the pixels themselves. In
descriptions in free text it finds names and numbers that other elements of the study state. An empty element does not
count, and neither does the text REMOVED, by which a cleaned copy replaces a text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom.datadict import dictionary_VR, keyword_for_tag, repeater_has_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from fedmed_transforms.patients.identifying_keywords import (
    COUNTERS,
    CURVES,
    FLAGS,
    FREE_TEXTS,
    IDENTIFYING,
    OVERLAYS,
    PATIENT_NAMES,
    PATIENT_NUMBERS,
)
from fedmed_transforms.patients.names import REMOVED, KnownPatients, is_name
from fedmed_transforms.patients.safe_private import is_safe_private

SHORT_TEXT = 256
"""Bytes of a private value that is kept until all files are read; scanners write long ones into every slice."""


@dataclass
class Found:
    """Describes what a file holds of identifiers.

    Attributes
    ----------
    elements
        Identifying elements: keywords, ``private: CREATOR``, or an element and a kind.
    texts
        Element and value of each free text, for a search of names.
    long_texts
        The same of long private values, which are searched only for the names of their own file.
    names, numbers
        The patient's own, if they are no pseudonyms.
    people
        The names of other persons.
    studies
        The study and the patient that the file belongs to; files that share one share the search.
    """

    elements: set[str] = field(default_factory=set)
    texts: set[tuple[str, str]] = field(default_factory=set)
    long_texts: set[tuple[str, str]] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    studies: set[str] = field(default_factory=set)


def data_set_identifiers(dataset: Dataset) -> Found:
    """Finds the identifying elements of a data set, at any depth of its sequences, and its free texts."""
    found = Found()
    _search(dataset, found)
    name, number = (_value(dataset, keyword) for keyword in ("PatientName", "PatientID"))
    removed = str(dataset.get("PatientIdentityRemoved", "")).strip() == "YES"
    if removed:
        for keyword, value in (("PatientName", name), ("PatientID", number)):
            if keyword in found.elements and not _is_in_sequence(dataset, keyword):
                found.elements.discard(keyword)
                found.texts |= set() if is_name(value) else {(keyword, value)}
        found.names.discard(name)
        found.numbers.discard(number)
        if is_name(name):
            found.elements.add("PatientName: a name beside PatientIdentityRemoved YES")
            found.names.add(name)
    _search_long_texts(found)
    study = _value(dataset, "StudyInstanceUID")
    found.studies = {f"study {study}", f"patient {number or name}"} - {"study ", "patient "}
    return found


def _search_long_texts(found: Found) -> None:
    """Moves the long texts that hold a name or a number of the same file to the texts, and forgets the others."""
    known = KnownPatients()
    known.add(found.names, found.numbers)
    found.texts |= {(element, text) for element, text in found.long_texts if known.kinds_in(text)}
    found.long_texts.clear()


def _value(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip()


def _search(dataset: Dataset, found: Found) -> None:
    for tag, element in dataset.items():
        if tag.is_private:
            if not tag.is_private_creator and is_filled(element) and not is_safe_private(dataset, tag):
                _search_private(dataset, tag, found)
            continue
        keyword, kind = keyword_for_tag(tag), vr_of(element)
        if kind == "SQ":
            items = list(dataset[tag].value or [])
            for item in items:
                _search(item, found)
            found.elements |= {keyword} if items and keyword in IDENTIFYING else set()
        elif repeated := _repeating(tag):
            found.elements |= {repeated} if is_filled(element) else set()
        elif is_unknown(tag):
            found.elements |= {"unknown element"} if is_filled(element) else set()
        elif keyword in FLAGS:
            found.elements |= {keyword} if _text(element) == "YES" else set()
        elif keyword in IDENTIFYING or kind == "PN":
            _note(dataset, tag, keyword, found)
        elif kind in FREE_TEXTS and is_filled(element):
            found.texts.add((keyword or "an unknown element", _value_text(dataset, tag)))


def _note(dataset: Dataset, tag: BaseTag, keyword: str, found: Found) -> None:
    """Notes an identifying element that has a value, and the patient's own name or number."""
    element = dataset.get_item(tag)
    if element is None or not is_filled(element) or _text(element) in (REMOVED, COUNTERS.get(keyword)):
        return
    found.elements.add(keyword or "person name")
    if keyword in PATIENT_NAMES:
        found.names |= set(_value_text(dataset, tag).split("\\"))
    elif keyword in PATIENT_NUMBERS:
        found.numbers |= set(_value_text(dataset, tag).split("\\"))
    elif vr_of(element) == "PN":
        found.people |= set(_value_text(dataset, tag).split("\\"))


def _search_private(dataset: Dataset, tag: BaseTag, found: Found) -> None:
    """Notes a private element, adds its text, whatever its value representation, and searches its sequences."""
    element, name = dataset.get_item(tag), private_name(dataset, tag)
    found.elements.add(name)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes) and vr_of(element) != "SQ":
        texts = found.texts if len(element.value) <= SHORT_TEXT else found.long_texts
        texts.add((name, element.value.decode("utf-8", "replace")))
    elif element is not None and vr_of(element) == "SQ":
        for item in dataset[tag].value or []:
            _search(item, found)


def is_unknown(tag: BaseTag) -> bool:
    """Checks whether DICOM does not know an element that is not private: its content may be anything."""
    return not keyword_for_tag(tag) and tag.element != 0 and not repeater_has_tag(tag)


def _repeating(tag: BaseTag) -> str:
    """Names an element of an overlay or a curve that holds text or shows it."""
    group = tag.group & 0xFF00
    names = OVERLAYS if group == 0x6000 else CURVES if group == 0x5000 else {}
    return names.get(tag.element, "")


def _is_in_sequence(dataset: Dataset, keyword: str) -> bool:
    """Checks whether an element has a value in a sequence, where it may belong to another person."""
    for tag, element in dataset.items():
        if not tag.is_private and vr_of(element) == "SQ":
            for item in dataset[tag].value or []:
                inner = Found()
                _search(item, inner)
                if keyword in inner.elements:
                    return True
    return False


def private_name(dataset: Dataset, tag: BaseTag) -> str:
    """Names a private element by its creator."""
    creator = dataset.get_item(BaseTag((tag.group << 16) | (tag.element >> 8)))
    value = b"" if creator is None else creator.value or b""
    name = (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")
    return f"private: {name or f'group {tag.group:04X} without a creator'}"


def vr_of(element: DataElement | RawDataElement) -> str:
    """Returns the value representation of an element: its own, or the dictionary's."""
    if element.VR not in (None, "UN"):
        return str(element.VR)
    try:
        return dictionary_VR(element.tag)
    except KeyError:
        return "UN"


def is_filled(element: DataElement | RawDataElement) -> bool:
    """Checks whether an element has a value besides blanks and separators."""
    if isinstance(element, RawDataElement) and element.value is None:
        return element.length > 0  # the value was not read
    value = element.value
    if isinstance(value, bytes):
        return bool(value.strip(b" \0^=\\"))
    return not element.is_empty if isinstance(element, DataElement) else bool(value)


def _text(element: DataElement | RawDataElement) -> str:
    value = element.value
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip(" \0")


def _value_text(dataset: Dataset, tag: BaseTag) -> str:
    """Decodes a text; several values are separated by backslashes."""
    element = dataset.get_item(tag)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes) and element.value.isascii():
        if b"\x1b" not in element.value:  # no other character set begins
            return element.value.decode("ascii").strip(" \0")
    value = dataset[tag].value
    return "\\".join(str(it) for it in value) if isinstance(value, (list, MultiValue)) else str(value)
