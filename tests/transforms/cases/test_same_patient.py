"""Series whose files name two patients, requests, studies or frames of reference: refused, and no value is quoted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
from pydicom.uid import ImplicitVRLittleEndian

from fedmed_transforms import find_studies, load_image, read_report, write_report, write_segmentation

Save = Callable[..., Path]

VALUES = {
    "StudyInstanceUID": ("1.2.77.1", "1.2.77.2"), "PatientID": ("QX77", "QX78"),
    "PatientName": ("Zweistein^Eulalia", "Zweistein^Emil"), "PatientBirthDate": ("19310427", "19310428"),
    "AccessionNumber": ("A-4711", "A-4712"), "FrameOfReferenceUID": ("1.2.88.1", "1.2.88.2"),
}  # fmt: skip


def change(file: Path, character_set: str | None = None, **elements: Any) -> None:
    dicom = pydicom.dcmread(file)
    if character_set:
        dicom.SpecificCharacterSet = character_set
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    dicom.save_as(file)


@pytest.fixture
def series(tmp_path: Path, save_series: Save) -> Path:
    """Five slices of one patient."""
    return save_series(tmp_path / "series", **{keyword: values[0] for keyword, values in VALUES.items()})


def check_text(error: pytest.ExceptionInfo[ValueError], keyword: str) -> None:
    text = str(error.value)
    assert keyword in text and not any(value in text for pair in VALUES.values() for value in pair), text


def probabilities(folder: Path) -> Path:
    return write_report({"a": 0.5, "b": 0.5}, folder, folder.parent / "report.dcm")


@pytest.mark.parametrize("keyword", VALUES)
@pytest.mark.parametrize("implicit", [False, True])
def test_two_values_are_refused_everywhere(series: Path, keyword: str, implicit: bool) -> None:
    change(series / "c.dcm", **{keyword: VALUES[keyword][1]})
    for file in series.iterdir() if implicit else ():
        dicom = pydicom.dcmread(file)
        dicom.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dicom.save_as(file, implicit_vr=True, little_endian=True)
    with pytest.raises(ValueError, match=r"series.*[a-e]\.dcm.*the rule `series` can choose by") as error:
        load_image(series)
    check_text(error, keyword)
    mask = torch.zeros(1, 6, 9, 5)
    for write in (probabilities, lambda _: write_segmentation(mask, series, series.parent / "s.dcm", ["x"])):
        with pytest.raises(ValueError, match=r"series/a\.dcm: expected images of one") as error:
            write(series)
        check_text(error, keyword)
    assert sorted(path.name for path in series.parent.iterdir()) == ["series"]
    assert load_image(series, series={keyword: re.escape(VALUES[keyword][1])}).shape[3] == 1  # as the message advises


@pytest.mark.parametrize("keyword", VALUES)
def test_no_study_of_two_patients_reaches_a_network(series: Path, keyword: str) -> None:
    change(series / "c.dcm", **{keyword: VALUES[keyword][1]})
    items = find_studies(str(series))
    errors = [str(item["error"]) for item in items if "error" in item]
    for item in items:
        if "image" in item:
            with pytest.raises(ValueError, match=keyword) as error:
                load_image(item["image"])
            errors.append(str(error.value))
    assert len(errors) == len(items) and all(keyword in text for text in errors)
    assert not any(value in text for text in errors for pair in VALUES.values() for value in pair)


@pytest.mark.parametrize("place", ["a.dcm", "c.dcm"])
def test_an_image_that_leaves_an_element_out_agrees_with_the_others(series: Path, place: str) -> None:
    """The result then has the patient and the frame of reference that the other images state."""
    dicom = pydicom.dcmread(series / place)
    for keyword in set(VALUES) - {"StudyInstanceUID"}:
        delattr(dicom, keyword)
    dicom.save_as(series / place)
    image = load_image(series)
    assert image.shape[3] == 5
    result = pydicom.dcmread(write_segmentation(image * 0 + 1, series, series.parent / "s.dcm", ["x"]))
    assert {keyword: result[keyword].value for keyword in VALUES} == {key: pair[0] for key, pair in VALUES.items()}
    assert read_report(probabilities(series)) == {"a": 0.5, "b": 0.5}
    assert pydicom.dcmread(series.parent / "report.dcm").PatientID == "QX77"


def test_a_name_in_two_character_sets_is_one(series: Path) -> None:
    for number, file in enumerate(sorted(series.iterdir())):
        sets = ("ISO_IR 192", "ISO_IR 100")[number % 2]
        change(file, sets, PatientName="Müller^Jürgen" + "^" * number, PatientID="QX77" + " " * number)
    assert load_image(series).shape[3] == 5
    change(series / "b.dcm", "ISO_IR 192", PatientName="MÜLLER^JÜRGEN")
    assert load_image(series).shape[3] == 5
    change(series / "c.dcm", PatientName="Möller^Jürgen")
    with pytest.raises(ValueError, match="found another PatientName in"):
        load_image(series)


def test_two_birth_dates_in_a_zip_are_refused(series: Path) -> None:
    change(series / "e.dcm", PatientBirthDate=VALUES["PatientBirthDate"][1])
    archive = Path(shutil.make_archive(str(series), "zip", series))
    with pytest.raises(ValueError, match=r"found another PatientBirthDate in .*e\.dcm than in .*a\.dcm") as error:
        load_image(archive)
    check_text(error, "PatientBirthDate")


def test_two_patients_in_two_series_are_two_series(series: Path, save_series: Save) -> None:
    save_series(series.parent / "other", PatientID="QX78")
    assert load_image(series).shape == load_image(series.parent / "other").shape
    with pytest.raises(ValueError, match="expected one; choose with the rule `series`; found 2 series"):
        load_image(series.parent)
