"""A clinic's folder to images: which series of a study is taken, and what is passed over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from fedmed_transforms import load_image, write_report, write_segmentation
from fedmed_transforms.studies.studies import Item, find_studies

SaveSeries = Callable[..., Path]


@pytest.fixture
def clinic(tmp_path: Path, save_series: SaveSeries, save_dicom: Callable[..., Path]) -> Path:
    """A study as it comes from an archive: images, a localiser, earlier results, a presentation state, a viewer."""
    study = tmp_path / "STUDY"
    series = save_series(study / "SE1", SeriesInstanceUID="1.2.3.4.1", SeriesNumber=3, SeriesDescription="thorax")
    for number in (1, 2):
        save_dicom(
            study / f"scout{number}", np.zeros((9, 6), np.uint16), number=number, SeriesInstanceUID="1.2.3.4.2",
            StudyInstanceUID="1.2.3.4", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        )  # fmt: skip
    mask = MetaTensor(torch.ones(1, 6, 9, 5), affine=load_image(series).affine)
    write_segmentation(mask, series, study / "results" / "SEG", ["organ"])
    write_report({"a": 1.0}, series, study / "results" / "SR.dcm")
    state = pydicom.dcmread(series / "a.dcm", stop_before_pixels=True)
    state.SOPClassUID, state.Modality = GrayscaleSoftcopyPresentationStateStorage, "PR"
    state.SeriesInstanceUID = "1.2.3.4.3"
    for keyword in ("Rows", "Columns"):
        del state[keyword]
    state.save_as(study / "PR1")
    for file in series.iterdir():
        file.rename(file.with_suffix(""))
    (study / "DICOMDIR").write_bytes(b"a list")
    (study / "viewer").mkdir()
    (study / "viewer" / "start.exe").write_bytes(b"MZ")
    return study


def flattened(study: Path) -> Path:
    """The same files in one folder."""
    flat = study.with_name("FLAT")
    flat.mkdir()
    for number, file in enumerate(sorted(path for path in study.rglob("*") if path.is_file())):
        name = file.name if file.name in ("DICOMDIR", "start.exe") else f"{number:04d}"
        (flat / name).write_bytes(file.read_bytes())
    return flat


def only(items: list[Item]) -> Item:
    (item,) = items
    return item


@pytest.mark.parametrize("flat", [False, True])
def test_the_series_of_images_is_taken(clinic: Path, flat: bool, caplog: pytest.LogCaptureFixture) -> None:
    study = flattened(clinic) if flat else clinic
    with caplog.at_level(logging.WARNING):
        item = only(find_studies(str(study)))
    assert (item["study"], item["series"]) == ("1.2.3.4", "1.2.3.4.1")
    assert item["path"] == str(study if flat else study / "SE1")
    assert item["name"] == ("FLAT" if flat else "SE1")
    assert len(item["image"]) == 5
    for said in (
        "1.2.3.4.2 (MR, 2 files, 6x9): holds localisers",
        "1.2.3.4.3 (PR, 1 files, no image, series number 3, 'thorax'): holds no image",
        f"(SEG, 1 files, 6x9, series number 900, 'FedMed {version('fedmed')}'): is computed from images",
        f"(SR, 1 files, no image, series number 901, 'FedMed {version('fedmed')}'): holds no image",
    ):  # fmt: skip
        assert said in item["passed_over"]
    assert "Doe" not in item["passed_over"]
    assert f"{study}: skipped 1 files that are no images" in caplog.text
    loaded, expected = load_image(item["image"]), load_image(clinic, series="1.2.3.4.1")
    assert torch.equal(loaded.as_tensor(), expected.as_tensor()) and torch.equal(loaded.affine, expected.affine)
    assert loaded.meta["filename_or_obj"] == item["path"]


@pytest.fixture
def two_series(tmp_path: Path, save_series: SaveSeries) -> Path:
    study = tmp_path / "study"
    save_series(study / "b", SeriesInstanceUID="1.2.1", SeriesNumber=1, SeriesDescription="lung\twindow", Modality="CT")
    save_series(study / "a", SeriesInstanceUID="1.2.2", SeriesNumber=2, SeriesDescription="soft" * 20)
    for name in "bcd":
        (study / "b" / f"{name}.dcm").unlink()
    return study


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("largest", "1.2.2"),
        ("1.2.1", "1.2.1"),
        ({"Modality": "MR"}, "1.2.2"),
        ({"SeriesDescription": "lung.*", "Modality": "C."}, "1.2.1"),
        ({"SeriesNumber": "[2-4]"}, "1.2.2"),
    ],
)
def test_a_rule_chooses(two_series: Path, rule: Any, expected: str) -> None:
    item = only(find_studies(str(two_series), {"series": rule}))
    assert item["series"] == expected
    assert {Path(file).parent.name for file in item["image"]} == {"b" if expected == "1.2.1" else "a"}
    assert {"1.2.1": "1.2.2 (", "1.2.2": "1.2.1 ("}[expected] in item["passed_over"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (None, "expected one series of images, found 2;"),
        ({"Modality": "PT"}, "that matches {'Modality': 'PT'}, found none;"),
        ("1.2.9", "that matches '1.2.9', found none;"),
        ({"Modality": "CT|MR"}, "found 2;"),
    ],
)
def test_none_or_several_series_are_an_error_of_the_study(two_series: Path, rule: Any, said: str) -> None:
    item = only(find_studies(str(two_series), {"series": rule}))
    assert set(item) == {"path", "study", "error"} and item["path"] == str(two_series)
    assert item["error"].startswith(f"{two_series}: expected one series of images") and said in item["error"]
    assert "1.2.1 (CT, 2 files, 6x9, series number 1, 'lung window')" in item["error"]
    assert f"series number 2, '{'soft' * 10}')" in item["error"]
    assert "Doe" not in item["error"]


def test_a_rule_may_take_a_localiser_or_some_files_of_a_series(clinic: Path) -> None:
    assert only(find_studies(str(clinic), {"series": {"ImageType": ".*LOCALIZER"}}))["series"] == "1.2.3.4.2"
    assert only(find_studies(str(clinic), {"series": "1.2.3.4.2"}))["series"] == "1.2.3.4.2"
    item = only(find_studies(str(clinic), {"series": {"InstanceNumber": "[2-4]", "SeriesNumber": "3"}}))
    assert len(item["image"]) == 3 and item["passed_over"].endswith("2 of the 5 files of 1.2.3.4.1")


def test_studies_in_one_folder_are_told_apart(tmp_path: Path, save_series: SaveSeries) -> None:
    for number in (1, 2):
        folder = save_series(tmp_path / f"s{number}", StudyInstanceUID=f"1.{number}", SeriesInstanceUID=f"1.2.{number}")
        (tmp_path / "incoming" / "deep").mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            file.rename(tmp_path / "incoming" / "deep" / f"{number}{file.name}")
        folder.rmdir()
    items = find_studies(str(tmp_path / "incoming"))
    assert [(item["study"], item["name"], len(item["image"])) for item in items] == [
        ("1.1", "deep/1.2.1", 5), ("1.2", "deep/1.2.2", 5),
    ]  # fmt: skip
    assert [item["name"] for item in find_studies(str(tmp_path / "incoming" / "deep"))] == ["1.2.1", "1.2.2"]


def test_a_damaged_file_refuses_the_series_beside_it_alone(tmp_path: Path, save_series: SaveSeries) -> None:
    """It may be the slice that nobody would miss, the last one."""
    for name in "ab":
        save_series(tmp_path / "all" / name, StudyInstanceUID=f"1.{ord(name)}")
    (tmp_path / "all" / "a" / "d.dcm").write_bytes(b"torn")
    good, *bad = sorted(find_studies(str(tmp_path / "all")), key=lambda item: "error" in item)
    assert good["path"] == str(tmp_path / "all" / "b")
    assert [Path(item["path"]).name for item in bad] == ["a", "d.dcm"]
    assert "found a damaged file beside them" in bad[0]["error"] and "a/d.dcm: expected a DICOM" in bad[0]["error"]


def test_a_file_without_any_dicom_is_a_damaged_slice_where_it_is_named_like_one(
    tmp_path: Path, save_series: SaveSeries
) -> None:
    save_series(tmp_path / "cd")
    for number, slice_of_it in enumerate(sorted((tmp_path / "cd").iterdir())):
        slice_of_it.rename(tmp_path / "cd" / f"IM{number:04}")
    (tmp_path / "cd" / "README").write_text("passed over")
    assert "error" not in find_studies(str(tmp_path / "cd"))[0]
    for content in (b"", bytes(2000)):
        (tmp_path / "cd" / "IM0005").write_bytes(content)
        study, lost = find_studies(str(tmp_path / "cd"))
        assert "found a damaged file beside them" in study["error"]
        assert lost["error"].endswith("IM0005: expected a DICOM file like those beside it, found something else")
