"""MONAI Label on a DICOMweb archive: it reads the archive's series, and stores what it found with their study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from fedmed_transforms import load_image
from fedmed_transforms.image_metadata import LPS_FROM_RAS
from tests.dicom_validator import errors_in
from tests.orthanc_server import OrthancServer

LIVER = {
    "labelID": 1, "SegmentLabel": "organ", "SegmentDescription": "organ", "SegmentAlgorithmType": "AUTOMATIC",
    "SegmentAlgorithmName": "fedsam_segmentation",
    "SegmentedPropertyCategoryCodeSequence":
        {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"},
    "SegmentedPropertyTypeCodeSequence":
        {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"},
}  # fmt: skip

SEGMENTS = [{"name": "organ", "model_name": "fedsam_segmentation", "segmentAttribute": LIVER}]


@pytest.fixture(params=["axial", "oblique"])
def series(request: pytest.FixtureRequest, archived: dict[str, Path]) -> Path:
    return archived[request.param]


def header(series: Path) -> Any:
    return pydicom.dcmread(next(series.iterdir()), stop_before_pixels=True)


def check(path: Path, series: Path) -> None:
    """dciodvfy finds no error, every voxel is the known answer's, at its place, and the source is named."""
    assert errors_in(path, "Segmentation") == []
    result = hd.seg.segread(path)
    source, image = header(series), load_image(series)
    volume = result.get_volume(segment_numbers=[1], combine_segments=True)
    affine = LPS_FROM_RAS @ volume.affine[:, [2, 1, 0, 3]]
    places = np.rint(np.linalg.inv(image.affine.numpy()) @ affine).astype(int)  # to voxels of the image
    turned = np.diag([1, 1, places[2, 2], 1])
    turned[2, 3] = places[2, 3]
    assert np.array_equal(places, turned) and np.abs(image.affine.numpy() @ places - affine).max() < 1e-4
    found = volume.array.transpose(2, 1, 0)[:, :, :: places[2, 2]]
    assert np.array_equal(found == 1, image[0].numpy() > 50)  # Dice 1.0
    referenced = result.ReferencedSeriesSequence[0]
    assert (result.StudyInstanceUID, result.PatientID) == (source.StudyInstanceUID, source.PatientID)
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == {
        pydicom.dcmread(file).SOPInstanceUID for file in series.iterdir()
    }
    assert result.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"


@pytest.mark.usefixtures("studied")
def test_the_archives_series_are_the_images(archive_label: Any, archived: dict[str, Path]) -> None:
    listed = requests.get(f"{archive_label.url}/datastore/", timeout=60).json()
    assert listed["total"] == len(archived)
    asked = requests.post(f"{archive_label.url}/activelearning/first", json={}, timeout=60).json()
    assert asked["id"] in {header(folder).SeriesInstanceUID for folder in archived.values()}


def test_a_segmentation_is_stored_back_and_found(
    archive_label: Any, series: Path, studied: OrthancServer, tmp_path: Path
) -> None:
    source, client, count = header(series), DICOMwebClient(studied.url), studied.count()
    answer = archive_label.infer("fedsam_segmentation", source.SeriesInstanceUID)
    assert answer.status_code == 200 and studied.count() == count
    archive_label.add_label(source.SeriesInstanceUID, "mask.nii.gz", answer.content, label_info=SEGMENTS)
    (found,) = client.search_for_series(source.StudyInstanceUID, search_filters={"Modality": "SEG"})
    assert studied.count() == count + 1
    (stored,) = client.retrieve_series(source.StudyInstanceUID, found["0020000E"]["Value"][0])
    stored.save_as(tmp_path / "seg.dcm")
    check(tmp_path / "seg.dcm", series)


def test_a_segmentation_is_answered_as_dicom_and_not_stored(
    archive_label: Any, series: Path, studied: OrthancServer, tmp_path: Path
) -> None:
    uid, count = header(series).SeriesInstanceUID, studied.count()
    answer = archive_label.infer("fedmsa_segmentation", uid, output="dicom_seg", label_info=SEGMENTS)
    assert answer.status_code == 200 and studied.count() == count
    (tmp_path / "seg.dcm").write_bytes(answer.content)
    check(tmp_path / "seg.dcm", series)


@pytest.mark.usefixtures("studied")
def test_a_series_is_classified(archive_label: Any, series: Path) -> None:
    scores = archive_label.scores(header(series).SeriesInstanceUID)
    assert set(scores) == {"dots", "stripes"} and sum(scores.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("studied")
def test_an_unknown_series_is_an_error_and_the_server_goes_on(archive_label: Any, series: Path) -> None:
    assert archive_label.infer("fedsam_segmentation", "1.2.3").status_code >= 400
    assert archive_label.infer("fedsam_segmentation", header(series).SeriesInstanceUID).status_code == 200
