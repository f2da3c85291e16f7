"""Reads the DICOM images that a result was computed from: their headers and their planes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pydicom
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM

from fedmed_transforms.dicom.dicom_file import PATIENT
from fedmed_transforms.dicom.frame_positions import read_frame_planes
from fedmed_transforms.dicom.geometry.frame_stack import missing_elements
from fedmed_transforms.dicom.headers.decimal_commas import mend_decimal_commas
from fedmed_transforms.dicom.headers.same_patient import check_same_patient
from fedmed_transforms.dicom.planes import FramePlane, frame_elements, readable_plane
from fedmed_transforms.dicom.series import is_dicom
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers, without_parser_texts
from fedmed_transforms.loading.find import IGNORED_NAMES

Sources: TypeAlias = str | Path | Sequence[str | Path | Dataset]
"""Files, folders with one series each, or datasets (their pixels are not needed)."""

REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")

MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
"""Elements that a result copies from its source; they are empty where the source lacks them."""

UNSTATED = "not stated by the images"
"""The DeidentificationMethod of a result whose source was de-identified and states no method."""

FRAME_OF_REFERENCE = "FrameOfReferenceUID"

PIXELS = 0x7FE00000


def read_sources(sources: Sources) -> list[Dataset]:
    """Reads the headers of the images of one series, in the order given; those of a folder in the order of their names.

    Raises
    ------
    ValueError
        There is no image, a file is no DICOM image, an element is missing that a result refers to, or the images are
        of several series or patients; the message names the file.
    """
    given = [sources] if isinstance(sources, (str, Path)) else list(sources)
    with silenced_parsers():
        headers = [header for source in given for header in _headers(source)]
        if not headers:
            raise ValueError("sources: found no image, expected the DICOM images that the result was computed from")
        for number, header in enumerate(headers, start=1):
            missing = [keyword for keyword in REQUIRED if header.get(keyword) in (None, "")]
            if missing:
                raise ValueError(
                    f"{source_name(header, number)}: expected a DICOM image, found no {', '.join(missing)}"
                )
            _complete(header, source_name(header, number))
        _check_one_series(headers)
    return headers


def _check_one_series(headers: list[Dataset]) -> None:
    """Refuses images of several series or patients, and completes elements that only some images state.

    All images of a series have one patient and one frame of reference (PS3.3, C.7.1.1, C.7.4.1), so that an image that
    leaves out such an element has the value of the others.
    """
    named = [(source_name(header, number), header) for number, header in enumerate(headers, start=1)]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns", FRAME_OF_REFERENCE):
        found = len({str(value) for header in headers if (value := header.get(keyword)) not in (None, "")})
        if found > 1:
            raise ValueError(f"{named[0][0]}: expected images of one series, found {found} values of {keyword}")
    try:
        check_same_patient(named)
    except ValueError as error:
        raise ValueError(f"{named[0][0]}: {error}") from error
    for keyword in (*PATIENT, FRAME_OF_REFERENCE):
        stated = next((header[keyword] for header in headers if header.get(keyword)), None)
        for header in headers if stated is not None else ():
            if not header.get(keyword):
                header[keyword] = stated


def _complete(header: Dataset, name: str) -> None:
    """Adds missing elements as empty, and refuses dates and times that cannot be copied, without quoting them."""
    for keyword in MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    if not header.get("DeidentificationMethod"):  # PS3.3, C.7.1.1: never empty, and there if an identity was removed
        header.pop("DeidentificationMethod", None)
        if header.get("PatientIdentityRemoved") == "YES" and not header.get("DeidentificationMethodCodeSequence"):
            header.DeidentificationMethod = UNSTATED
    for keyword, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(str(header[keyword].value or ""))
        except ValueError:
            raise ValueError(f"{name}: expected a DICOM date or time as {keyword}, found something else") from None


def source_name(header: Dataset, number: int) -> str:
    """Names a source by its path; a data set without one by its place among the sources, counted from 1."""
    return str(getattr(header, "filename", None) or f"source {number}")


def _headers(source: str | Path | Dataset) -> list[Dataset]:
    if isinstance(source, Dataset):
        return [source[:PIXELS]]
    path = Path(source)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder, expected a DICOM image or a folder with one series")
    if path.is_file():
        return [_read(path)]
    hidden = [file for file in path.iterdir() if file.name.startswith(".") or file.name.lower() in IGNORED_NAMES]
    return [_read(file) for file in sorted(set(path.iterdir()) - set(hidden))]


def _read(path: Path) -> Dataset:
    if not path.is_file() or not is_dicom(path):
        raise ValueError(f"{path}: expected a DICOM image")
    with without_parser_texts(path, "a DICOM image"):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True)  # some archives leave the preamble out
        mend_decimal_commas(header)
    return header


def source_planes(headers: Sequence[Dataset]) -> list[FramePlane] | None:
    """Reads the planes of all frames: one an image, or one a frame of a multi-frame image.

    Returns
    -------
    list or None
        None for one frame without a position: a photograph, an ultrasound picture, a projection.

    Raises
    ------
    ValueError
        A plane does not read, several frames have no position, or one with a position lacks another element; the
        message names the file.
    """
    planes: list[FramePlane] = []
    for number, header in enumerate(headers, start=1):
        name = source_name(header, number)
        with silenced_parsers(), readable_plane(name):
            found = read_frame_planes(frame_elements(header))
        for plane in found:
            _check_placed(plane, name)
        planes += found
    unplaced = sum(plane.position is None for plane in planes)
    if not unplaced:
        return planes
    if len(planes) == 1:
        return None
    raise ValueError(
        f"{source_name(headers[0], 1)}: expected ImagePositionPatient of every frame, or one image without it, "
        f"found {unplaced} of {len(planes)} frames without"
    )


def _check_placed(plane: FramePlane, name: str) -> None:
    """Refuses a position without the elements that belong to it."""
    missing = missing_elements(plane)
    if plane.position is not None and missing:
        raise ValueError(f"{name}: expected {', '.join(missing)} besides ImagePositionPatient, found none")
