"""Tests the counts and measures of a site against the files themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from fedmed_transforms.simulation.phantom_series import write_series
from fedmed_transforms.simulation.scanners import SCANNERS
from fedmed_transforms.simulation.volume_phantoms import write_segmentation_sites
from fedmed_workflows.sites.classification_sites import ClassificationSites
from fedmed_workflows.sites.segmentation_sites import SegmentationSites
from fedmed_workflows.sites.statistics import SiteStatistics


def statistics_of(sites: Any, site: str, **settings: Any) -> SiteStatistics:
    return SiteStatistics(sites.cases(site, settings), sites.case_reader(settings))


def save(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, dtype=np.uint8)).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> ClassificationSites:
    """A site of two patients: one with a dark and a bright picture, one with a picture half dark, half bright."""
    save(tmp_path / "here" / "dots" / "anna_1.png", [[0, 0], [0, 0]])
    save(tmp_path / "here" / "dots" / "anna_2.png", [[40, 40], [40, 40]])
    save(tmp_path / "here" / "stripes" / "bert_1.png", [[0, 0, 0], [100, 100, 100]])
    return ClassificationSites(str(tmp_path), ["here"])


def test_every_patient_counts_once(pictures: ClassificationSites) -> None:
    found = statistics_of(pictures, "here", patient_pattern="^([a-z]+)_")
    assert set(found.quantities) == {"images", "class dots", "class stripes", "intensity", "size x", "size y"}
    assert (found.count("images"), found.total("images")) == (2, 3)
    assert (found.count("class dots"), found.total("class dots")) == (1, 2)
    assert (found.count("class stripes"), found.total("class stripes")) == (1, 1)
    assert found.count("intensity") == 2 and found.total("intensity") == 20 + 50
    assert found.total("size x") == 2 + 3 and found.total("size y") == 2 + 2  # x counts columns
    assert found.range("intensity") == (0, 100)


def test_an_intensity_s_deviation_is_that_of_its_voxels(pictures: ClassificationSites) -> None:
    found = statistics_of(pictures, "here", patient_pattern="^([a-z]+)_")
    anna, bert = np.array([0.0] * 4 + [40.0] * 4), np.array([0.0] * 3 + [100.0] * 3)
    squares = [np.mean((values - 35) ** 2) for values in (anna, bert)]
    assert found.deviation("intensity") == pytest.approx(np.sqrt(sum(squares) / (2 - 1)))
    squares = [np.mean((values - 30) ** 2) for values in (anna, bert)]
    assert found.variance("intensity", 30, 8) == pytest.approx(sum(squares) / (8 - 1))


def test_a_histogram_shares_a_patient_out_as_the_voxels_are(pictures: ClassificationSites) -> None:
    found = statistics_of(pictures, "here", patient_pattern="^([a-z]+)_")
    counts, edges = found.histogram("intensity", 4, 0, 100)
    assert edges == [0, 25, 50, 75, 100]
    assert counts == [0.5 + 0.5, 0.5, 0, 0.5]  # anna's two pictures, bert's one; the last bin holds its upper edge
    assert found.histogram("size x", 2, 2, 4) == ([1, 1], [2, 3, 4])


def test_without_patients_every_image_is_one(pictures: ClassificationSites) -> None:
    assert statistics_of(pictures, "here").count("images") == 3


def test_an_image_that_is_refused_is_left_out_counted_and_named_in_the_log(
    pictures: ClassificationSites, caplog: pytest.LogCaptureFixture
) -> None:
    broken = pictures.folders["here"] / "dots" / "carl_1.png"
    broken.write_bytes(b"no picture")
    found = statistics_of(pictures, "here", patient_pattern="^([a-z]+)_")
    assert found.refused == 1 and found.total("images") == 3 and found.count("class dots") == 1
    assert "carl_1.png" in caplog.text and "expected a readable picture" in caplog.text


def test_values_that_are_not_finite_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "here" / "a").mkdir(parents=True)
    values = np.zeros((2, 2, 2), dtype=np.float32)
    values[0, 0, 0] = np.inf
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "here" / "a" / "1.nii.gz")
    found = statistics_of(ClassificationSites(str(tmp_path), ["here"]), "here")
    assert found.refused == 1 and found.quantities == {}
    assert "1.nii.gz" in caplog.text


def test_dicom_files_say_their_spacing_and_their_patient(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for patient, scanner in (("p1", "harbour"), ("p2", "hillside")):
        folder = tmp_path / "here" / "ring"
        folder.mkdir(parents=True, exist_ok=True)
        write_series(folder, patient, list(random.random((3, 16, 16))), SCANNERS[scanner], "study")
    headers = [pydicom.dcmread(file) for file in sorted((tmp_path / "here" / "ring").glob("*.dcm"))]
    spacings = {str(header.PatientID): float(header.PixelSpacing[0]) for header in headers}
    means = {str(header.PatientID): 0.0 for header in headers}
    for header in headers:
        means[str(header.PatientID)] += header.pixel_array.mean() / 3
    found = statistics_of(ClassificationSites(str(tmp_path), ["here"]), "here")
    assert len(headers) == 6 and len(set(spacings.values())) == 2
    assert (found.count("images"), found.total("images")) == (2, 6)
    assert found.count("spacing x") == 2 and found.total("spacing x") == pytest.approx(sum(spacings.values()))
    assert found.range("spacing y") == pytest.approx((min(spacings.values()), max(spacings.values())))
    assert found.total("spacing z") == pytest.approx(2 * float(headers[0].SliceThickness))
    assert found.total("intensity") == pytest.approx(sum(means.values()))


def test_a_segmentation_counts_slices_and_where_a_class_is_labelled(tmp_path: Path) -> None:
    root = write_segmentation_sites(tmp_path / "sites", volumes=3, size=32)
    sites = SegmentationSites(str(root), channels={"organ": [1], "other": [2]})
    labels = [nib.load(file).get_fdata() for file in sorted((root / "harbour" / "labels").iterdir())]
    labelled = sum(int(label.any(axis=(0, 1)).sum()) for label in labels)
    headers = [pydicom.dcmread(file) for file in sorted((root / "harbour" / "images").rglob("*.dcm"))]
    found = statistics_of(sites, "harbour", channels={"organ": [1], "other": [2]})
    assert (found.count("images"), found.total("images"), found.total("slices")) == (3, 3, 3 * 6)
    assert 0 < labelled < 18 and found.total("class organ") == labelled
    assert "class other" not in found.quantities  # nobody has it
    assert found.total("intensity") / 3 == pytest.approx(np.mean([header.pixel_array for header in headers]))
    assert found.total("spacing x") / 3 == pytest.approx(float(headers[0].PixelSpacing[1]))
    assert found.total("size z") == 3 * 6


def test_pictures_of_a_volume_s_slices_have_no_spacing_and_one_patient(tmp_path: Path) -> None:
    root = write_segmentation_sites(tmp_path / "sites", volumes=3, size=32)
    sites = SegmentationSites(str(root), channels={"organ": [1]})
    found = statistics_of(sites, "riverbend", channels={"organ": [1]}, patient_pattern="^([a-z]+-[0-9]+)")
    assert (found.count("images"), found.total("images"), found.total("slices")) == (3, 18, 18)
    labelled = sum(bool(np.asarray(Image.open(file)).any()) for file in (root / "riverbend" / "labels").iterdir())
    assert found.total("class organ") == labelled
    assert not any(name.startswith("spacing") for name in found.quantities)
