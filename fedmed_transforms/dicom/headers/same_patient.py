"""Refuses a series whose files name two patients or two studies. Messages name the element, and never its value."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from fedmed_transforms.dicom.dicom_file import PATIENT, text_of

ELEMENTS = [(keyword, BaseTag(tag_for_keyword(keyword) or 0)) for keyword in ("StudyInstanceUID", *PATIENT)]
"""Elements that are the same in all images of a series, where an image states them (PS3.3, C.7.1.1, C.7.2.1)."""


def check_same_patient(images: Iterable[tuple[str, Dataset]]) -> None:
    """Refuses images of one series that differ in an element of the patient or the study.

    An image that does not state an element agrees with every other one.

    Parameters
    ----------
    images
        Name and header of each image.

    Raises
    ------
    ValueError
        Two images differ; the message names both and the element.
    """
    first: dict[str, tuple[bytes, str, Dataset]] = {}
    for name, header in images:
        for keyword, tag in ELEMENTS:
            value = _stored(header, tag)
            if not value:
                continue
            known = first.setdefault(keyword, (value, name, header))
            if value != known[0] and _text(header, keyword) != _text(known[2], keyword):
                raise ValueError(
                    f"expected images of one patient and one study, found another {keyword} in {name} than in "
                    f"{known[1]}; the rule `series` can choose by {keyword}"
                )


def _stored(header: Dataset, tag: BaseTag) -> bytes:
    """Reads an element as its file stores it, without padding: most files of a series store the same bytes."""
    element = header.get_item(tag)
    value = None if element is None else element.value
    return (value if isinstance(value, bytes) else str(value or "").encode()).strip(b" \0")


def _text(header: Dataset, keyword: str) -> str:
    """Reads an element as text: files may write a name in another character set or case, or with empty components."""
    text = text_of(header, keyword).strip(" \0^=")
    return text.casefold() if keyword == "PatientName" else text
