"""Class probabilities as DICOM structured reports: what they say, what they refer to, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from fedmed_transforms.results.dicom_result import Algorithm
from fedmed_transforms.results.structured_report import read_report, write_report

PROBABILITIES = {"no_tumor": 0.1234567891, "glioma": 0.75, "métastase of the posterior fossa": 1 - 0.75 - 0.1234567891}


def items_of(item: Dataset, value_type: str) -> list[Dataset]:
    """Content items of a type at any depth, by the elements of the file alone."""
    below = [found for child in item.get("ContentSequence", []) for found in items_of(child, value_type)]
    return ([item] if item.get("ValueType") == value_type else []) + below


def test_probabilities_come_back(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series")
    path = write_report(PROBABILITIES, series, tmp_path / "out" / "report.dcm")
    assert read_report(path) == pytest.approx(PROBABILITIES, abs=1e-9)
    assert list(read_report(path)) == list(PROBABILITIES)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["report.dcm"]


def test_what_a_viewer_finds_in_the_file(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series")
    report = pydicom.dcmread(write_report(PROBABILITIES, series, tmp_path / "r.dcm", Algorithm("facmic", "1.2")))
    assert (report.SOPClassUID.name, report.Modality) == ("Enhanced SR Storage", "SR")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip
    numbers = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.MeasuredValueSequence[0] for item in items_of(report, "NUM")
    }
    assert set(numbers) == {f"Probability: {label}" for label in PROBABILITIES}
    assert float(numbers["Probability: glioma"].NumericValue) == 0.75
    assert numbers["Probability: glioma"].MeasurementUnitsCodeSequence[0].CodeValue == "1"
    texts = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.TextValue for item in items_of(report, "TEXT")
    }  # fmt: skip
    assert (texts["Algorithm Name"], texts["Algorithm Version"]) == ("facmic", "1.2")
    assert texts["Device Observer Manufacturer"] == "FedMed"
    assert not items_of(report, "PNAME")


def test_the_images_are_referred_to(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series")
    headers = [pydicom.dcmread(file) for file in sorted(series.iterdir())]
    path = write_report(PROBABILITIES, headers, tmp_path / "report.dcm")
    report, expected = pydicom.dcmread(path), [str(header.SOPInstanceUID) for header in headers]
    images = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items_of(report, "IMAGE")]
    assert images == expected and len(set(expected)) == 5
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (evidence,) = study.ReferencedSeriesSequence
    assert evidence.SeriesInstanceUID == headers[0].SeriesInstanceUID
    assert sorted(item.ReferencedSOPInstanceUID for item in evidence.ReferencedSOPSequence) == sorted(expected)
    (group,) = hd.sr.srread(path).content.get_image_measurement_groups()
    assert [str(image.referenced_sop_instance_uid) for image in group.source_images] == expected
    assert (report.StudyInstanceUID, report.PatientName) == (headers[0].StudyInstanceUID, "Doe^Jane")


@pytest.mark.parametrize(
    ("class_codes", "expected"),
    [
        (None, ("glioma", "99FEDMED", "glioma")),
        ({"no_tumor": ["1", "99X", "none"]}, ("glioma", "99FEDMED", "glioma")),
        ({"glioma": ["393564001", "SCT", "Glioma"]}, ("393564001", "SCT", "Glioma")),
    ],
)
def test_the_predicted_class(
    tmp_path: Path, save_series: Callable[..., Path], class_codes: Any, expected: tuple[str, str, str]
) -> None:
    file = save_series(tmp_path / "series") / "c.dcm"
    path = write_report(PROBABILITIES, file, tmp_path / "report.dcm", class_codes=class_codes)
    (group,) = hd.sr.srread(path).content.get_image_measurement_groups()
    (evaluation,) = group.get_qualitative_evaluations()
    assert evaluation.name.meaning == "Predicted class"
    value = evaluation.value
    assert (value.value, value.scheme_designator, value.meaning) == expected
    assert list(read_report(path)) == list(PROBABILITIES)


def test_an_image_without_a_position_or_a_study_s_date(tmp_path: Path) -> None:
    source = get_testdata_file("SC_rgb_small_odd.dcm", download=False)
    assert source is not None
    dicom = pydicom.dcmread(str(source))
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "PatientBirthDate", "PatientSex", "StudyID"):
        dicom.pop(keyword, None)
    path = write_report({"mole": 1.0}, [dicom], tmp_path / "report.dcm")
    assert read_report(path) == {"mole": 1.0} and pydicom.dcmread(path).StudyDate == ""
    assert "StudyDate" not in dicom


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ({}, r"a\.dcm: expected probabilities in \[0, 1\], found none"),
        ({"a": float("nan"), "b": 0.5}, "found {'a': nan}"),
        ({"a": float("inf"), "b": 0.5}, "found {'a': inf}"),
        ({"a": 1.1, "b": -0.1}, "found {'a': 1.1, 'b': -0.1}"),
        ({"a": 0.5, "b": 0.4}, "sum to 1 within 0.001, found 0.9"),
        ({"a": 0.5, "b": 0.502}, "sum to 1 within 0.001, found 1.002"),
        ({"a" * 52: 1.0}, "expected 1 to 64 printable characters"),
        ({"a\\b": 1.0}, "without backslash"),
    ],
)
def test_bad_probabilities_are_refused(
    tmp_path: Path, save_series: Callable[..., Path], probabilities: dict[str, float], said: str
) -> None:
    series = save_series(tmp_path / "series")
    with pytest.raises(ValueError, match=said):
        write_report(probabilities, series, tmp_path / "report.dcm")
    assert not (tmp_path / "report.dcm").exists()


def test_sums_off_by_rounding_pass(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    path = write_report({"a": 0.5, "b": 0.5005}, save_series(tmp_path / "series"), tmp_path / "report.dcm")
    assert read_report(path) == {"a": 0.5, "b": 0.5005}


def test_other_files_are_named(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    for name in ("CT_small.dcm", "test-SR.dcm"):
        file = get_testdata_file(name, download=False)
        with pytest.raises(ValueError, match=f"{name}: expected a DICOM measurement report"):
            read_report(str(file))
