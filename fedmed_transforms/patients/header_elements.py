"""Reads elements of an image's DICOM header as text, to distinguish patients, visits and scanners, without pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedmed_transforms.dicom.dicom_file import read_dicom_file, text_of
from fedmed_transforms.dicom.header_index import tags_of
from fedmed_transforms.dicom.series import is_dicom
from fedmed_transforms.loading.find import first_file


def header_elements(image: Path, keywords: Sequence[str]) -> dict[str, str] | None:
    """Reads elements of a file, or of the first file in the folder of a series.

    Parameters
    ----------
    image
        A file, or a folder with a DICOM series.
    keywords
        Keywords of elements as in DICOM PS3.6.

    Returns
    -------
    dict or None
        Text by keyword, several values separated by backslashes, empty if the header has no value; None for a file
        that is no DICOM.

    Raises
    ------
    ValueError
        The file is damaged; the message names the file.
    """
    file = first_file(image)
    if not is_dicom(file):
        return None
    header = read_dicom_file(file, str(file), tags_of(list(keywords))).header
    return {keyword: text_of(header, keyword).strip() for keyword in keywords}
