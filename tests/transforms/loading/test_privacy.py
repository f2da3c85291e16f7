"""Messages, warnings and log records never say who the patient is, whatever a file is damaged to."""

from __future__ import annotations

import logging
import random
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from fedmed_transforms import load_image

SHIPPED = Path(pydicom.data.__file__).parent / "test_files"
PATIENT = {"PatientName": "ZWEISTEIN^EULALIA", "PatientID": "QX77Z90417", "PatientBirthDate": "19310427"}
SECRET = re.compile("zweistein|eulalia|qx77z90417|19310427|QX77|31042", re.IGNORECASE)
ELEMENTS = (
    *("SpecificCharacterSet", "ImageType", "SOPClassUID", "SeriesDate", "AcquisitionDate", "AcquisitionTime"),
    *("Modality", "Manufacturer", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientWeight"),
    *("SliceThickness", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "ImagePositionPatient", "Rows"),
    *("PhotometricInterpretation", "PixelSpacing", "BitsAllocated", "RescaleSlope", "WindowCenter"),
)
NAME = struct.pack("<HH", 0x0010, 0x0010)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file of a known patient, with the elements that are to be damaged."""
    header = pydicom.dcmread(SHIPPED / "MR_small.dcm")
    for keyword, value in {**PATIENT, "SpecificCharacterSet": "ISO_IR 100", "PatientWeight": "70"}.items():
        setattr(header, keyword, value)
    header.RescaleSlope, header.WindowCenter = "1", "40"
    header.save_as(tmp_path / "known.dcm")
    return tmp_path / "known.dcm"


def grown(content: bytes) -> Iterator[bytes]:
    """Each element in turn made so long that it takes in those that follow, up to the patient's and behind."""
    for keyword in ELEMENTS:
        tag = pydicom.datadict.tag_for_keyword(keyword)
        assert tag is not None
        place = content.find(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 132)
        if place < 0:
            continue
        for more in (2, 8, 40, 100, 300, 700, content.find(NAME, place) - place + 20):
            length = struct.unpack("<H", content[place + 6 : place + 8])[0] + more
            if 0 < length < 2**16:
                yield content[: place + 6] + struct.pack("<H", length) + content[place + 8 :]


def renamed(content: bytes) -> Iterator[bytes]:
    """The patient's elements under the tag of each other one, and of each kind."""
    for patient in PATIENT:
        own = pydicom.datadict.tag_for_keyword(patient)
        place = content.find(struct.pack("<HH", own >> 16, own & 0xFFFF), 132)
        for keyword in ELEMENTS:
            tag = pydicom.datadict.tag_for_keyword(keyword)
            other = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
            without = content.replace(other, b"\x09\0\x99\x99", 1) if keyword not in PATIENT else content
            for kind in (b"", b"CS", b"DS", b"IS", b"UI", b"DA", b"US", b"ZZ"):
                yield without[:place] + other + (kind or content[place + 4 : place + 6]) + without[place + 6 :]


def at_random(content: bytes) -> Iterator[bytes]:
    end = content.index(b"\xe0\x7f\x10\x00") + 12
    at = random.Random(0)
    for _ in range(400):
        place, found = at.randrange(132, end), bytearray(content)
        found[place : place + at.choice((1, 2, 4))] = at.randbytes(at.choice((0, 1, 2, 4)))
        yield bytes(found)


def said_of(path: Path) -> str:
    try:
        load_image(path)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("damage", [grown, renamed, at_random])
def test_nothing_that_is_said_names_the_patient(image: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    assert callable(damage)
    content, path, refused = image.read_bytes(), image.with_name("damaged.dcm"), 0
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number, damaged in enumerate(damage(content)):
            path.write_bytes(damaged)
            for said in (said_of(path), said_of(path.parent)):  # the folder holds two series, which are listed
                assert not SECRET.search(said), f"{damage} {number}: {said}"
                refused += bool(said)
            for record in (*caplog.records, *warned):
                text = record.getMessage() if isinstance(record, logging.LogRecord) else str(record.message)
                assert not SECRET.search(text), f"{damage} {number}: {text}"
            caplog.clear()
            warned.clear()
    assert refused > 20


def test_the_patient_is_in_no_metadata(image: Path) -> None:
    assert not SECRET.search(str(load_image(image).meta))
