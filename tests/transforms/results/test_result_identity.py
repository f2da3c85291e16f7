"""The same result has the same UIDs, another result has others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.dataset import Dataset

from fedmed_transforms import load_image, write_report, write_segmentation
from fedmed_transforms.results.dicom_result import Algorithm

OF_ITS_TIME = ("DA", "TM", "DT")


@pytest.fixture
def series(save_series: Callable[..., Path], tmp_path: Path) -> Path:
    return save_series(tmp_path / "series", PatientID="1", StudyID="1")


def segmentation(series: Path, tmp_path: Path, changed: bool = False, **arguments: Any) -> Dataset:
    image = load_image(series)
    mask = torch.zeros(image.shape, dtype=torch.uint8)
    mask[0, 2:4, 3:7, 1:4] = 1
    mask[0, 0, 0, 0] = int(changed)
    arguments = {"sources": series, "segments": ["organ"], **arguments}
    mask = MetaTensor(mask, affine=image.affine)
    return pydicom.dcmread(write_segmentation(mask, output=tmp_path / "x.dcm", **arguments))


def report(series: Path, tmp_path: Path, **arguments: Any) -> Dataset:
    arguments = {"probabilities": {"glioma": 0.75, "healthy": 0.25}, "sources": series, **arguments}
    return pydicom.dcmread(write_report(output=tmp_path / "x.dcm", **arguments))


def untimed(dicom: Dataset) -> Dataset:
    """All of a file but when it was written."""
    dicom.remove_private_tags()
    dicom.walk(lambda holder, element: holder.pop(element.tag) if element.VR in OF_ITS_TIME else None)
    return dicom


def uids(dicom: Dataset) -> set[str]:
    return {dicom.SOPInstanceUID, dicom.SeriesInstanceUID}


@pytest.mark.parametrize("write", [segmentation, report])
def test_a_result_written_twice_is_the_same_but_for_its_time(
    write: Callable[..., Dataset], series: Path, tmp_path: Path
) -> None:
    first, again = write(series, tmp_path), write(series, tmp_path)
    assert len(uids(first)) == 2 and untimed(first) == untimed(again)


@pytest.mark.parametrize("write", [segmentation, report])
def test_the_order_and_the_place_of_the_sources_do_not_count(
    write: Callable[..., Dataset], series: Path, tmp_path: Path
) -> None:
    first = write(series, tmp_path)
    files = sorted(series.iterdir(), reverse=True)
    assert uids(write(series, tmp_path, sources=files)) == uids(first)
    moved = series.rename(tmp_path / "moved")
    for number, file in enumerate(sorted(moved.iterdir(), reverse=True)):
        file.rename(moved / f"{number}.dcm")
    assert uids(write(moved, tmp_path)) == uids(first)


@pytest.mark.parametrize("write", [segmentation, report])
def test_another_algorithm_or_version_has_other_uids(
    write: Callable[..., Dataset], series: Path, tmp_path: Path
) -> None:
    found = [write(series, tmp_path, algorithm=Algorithm(*names)) for names in (("a", "1"), ("a", "2"), ("b", "1"))]
    assert len(set.union(*map(uids, found))) == 6


def test_another_mask_or_segment_has_other_uids(series: Path, tmp_path: Path) -> None:
    found = [
        segmentation(series, tmp_path),
        segmentation(series, tmp_path, changed=True),
        segmentation(series, tmp_path, segments=["tumour"]),
    ]
    assert len(set.union(*map(uids, found))) == 6


def test_other_probabilities_or_codes_have_other_uids(series: Path, tmp_path: Path) -> None:
    found = [
        report(series, tmp_path),
        report(series, tmp_path, probabilities={"glioma": 0.7500001, "healthy": 0.2499999}),
        report(series, tmp_path, class_codes={"glioma": ["393564001", "SCT", "Glioma"]}),
    ]
    assert len(set.union(*map(uids, found))) == 6


def test_other_sources_have_other_uids(series: Path, save_series: Callable[..., Path], tmp_path: Path) -> None:
    other = save_series(tmp_path / "other", PatientID="1", StudyID="1")
    assert not uids(segmentation(series, tmp_path)) & uids(segmentation(other, tmp_path))
    assert not uids(report(series, tmp_path)) & uids(report(other, tmp_path))
