"""Segmentations and reports are valid DICOM, whatever kind of image they were computed from: dciodvfy says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file

from fedmed_transforms import Segment, load_image, write_report, write_segmentation
from fedmed_transforms.results.dicom_result import Algorithm
from tests.dicom_validator import errors_in

SEGMENTS = [Segment("organ"), Segment("Leber, größer", kind=("10200004", "SCT", "Liver"))]

TEST_FILES = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent

SOURCES = {
    "CT": "CT_small.dcm",
    "MR": "MR_small.dcm",
    "radiograph": "dicomdirtests/77654033/CR1/6154",
    "colours": "SC_rgb_small_odd.dcm",
}


@pytest.fixture(params=[*SOURCES, "series"])
def source(request: pytest.FixtureRequest, tmp_path: Path, save_series: Callable[..., Path]) -> Path:
    if request.param == "series":
        return save_series(tmp_path / "series", "oblique")
    return TEST_FILES / SOURCES[request.param]


def test_a_segmentation(source: Path, tmp_path: Path) -> None:
    image = load_image(source)
    mask = MetaTensor(torch.zeros(2, *image.shape[1:]), affine=image.affine)
    mask[0, 1:3, 1:5] = mask[1, 2:5] = 1
    path = write_segmentation(mask, source, tmp_path / "seg.dcm", SEGMENTS, Algorithm("a", "1"))
    assert errors_in(path, "Segmentation") == []


def test_a_report(source: Path, tmp_path: Path) -> None:
    codes = {"Gliom": ("393564001", "SCT", "Glioma")}
    path = write_report({"Gliom": 0.75, "größer": 0.25}, source, tmp_path / "sr.dcm", class_codes=codes)
    assert errors_in(path, "EnhancedSR") == []


@pytest.mark.parametrize("removed", ["YES", "NO", None])
def test_a_de_identification_without_a_method(tmp_path: Path, save_series: Callable[..., Path], removed: Any) -> None:
    elements = {"DeidentificationMethod": "", **({"PatientIdentityRemoved": removed} if removed else {})}
    path = write_report({"a": 1.0}, save_series(tmp_path / "series", **elements), tmp_path / "sr.dcm")
    assert errors_in(path, "EnhancedSR") == []
    expected = "not stated by the images" if removed == "YES" else None
    assert pydicom.dcmread(path).get("DeidentificationMethod") == expected


def test_the_check_can_fail(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "series")
    dicom = pydicom.dcmread(write_report({"a": 1.0}, series, tmp_path / "sr.dcm"))
    del dicom.CompletionFlag
    dicom.save_as(tmp_path / "sr.dcm")
    assert any("CompletionFlag" in error for error in errors_in(tmp_path / "sr.dcm", "EnhancedSR"))
