"""Errors while a header is read: a refusal of this package keeps its sentence, and a parser's text does not pass."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.dicom_file import read_dicom_file
from fedmed_transforms.dicom.silenced_parsers import without_parser_texts
from fedmed_transforms.studies.dicomweb.server import DicomWebServer
from fedmed_transforms.studies.dicomweb.store import store_results


def test_a_sentence_of_this_package_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as damaged, without_parser_texts("f.dcm", "a DICOM file"):
        raise Damaged("two values of Rows")
    assert str(damaged.value) == "f.dcm: expected a DICOM file, found two values of Rows"
    file = tmp_path / "f.dcm"
    file.write_bytes(b"no DICOM" * 40)
    with pytest.raises(ValueError) as refused, without_parser_texts(file, "an image"):
        read_dicom_file(file, str(file))
    assert str(refused.value).startswith(f"{file}: expected a DICOM file, found ")


@pytest.mark.parametrize(
    "read", [lambda header: float(header.PatientName), lambda header: header.Doe], ids=["a value", "an attribute"]
)
def test_a_parser_s_text_does_not_pass(read: object) -> None:
    header = Dataset()
    header.PatientName = "Doe"
    with pytest.raises(ValueError) as error, without_parser_texts("f.dcm", "a DICOM file"):
        read(header)  # type: ignore[operator]
    assert "Doe" not in str(error.value)
    assert str(error.value).startswith("f.dcm: expected a DICOM file, found ")


def test_a_result_whose_uid_is_none_is_refused_by_the_element(tmp_path: Path) -> None:
    result = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    with pydicom.config.disable_value_validation():
        result.StudyInstanceUID = "Doe^Jane"
        result.save_as(tmp_path / "f.dcm")
    with pytest.raises(ValueError, match="StudyInstanceUID that is no UID of at most 64 digits and dots") as error:
        store_results(DicomWebServer("http://127.0.0.1:9/dicom-web"), [tmp_path / "f.dcm"])
    assert str(tmp_path / "f.dcm") in str(error.value) and "Doe" not in str(error.value)
