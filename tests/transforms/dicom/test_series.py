"""Tests the series found in a path (files, folders, DICOMDIRs and zips) and the choice of one among several."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, Invertd, LoadImage, SaveImaged, Spacingd

from fedmed_transforms import LoadMedicalImaged, SeriesRules, load_image

DICOMDIR = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"


@pytest.fixture
def two_series(tmp_path: Path, save_dicom: Callable[..., Path], letter: Any) -> Path:
    """A study with a series of three slices, one of two, a report and a text."""
    for uid, count in (("1.2.3", 3), ("1.2.4", 2)):
        folder = tmp_path / "study" / uid
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            elements = {"SeriesInstanceUID": uid, "PatientName": "Doe^Jane", "PatientID": "4711"}
            save_dicom(folder / f"{number}.dcm", letter // number, number=number, position=2.0 * number, **elements)
    shutil.copy(DICOMDIR.parent / "reportsi.dcm", tmp_path / "study" / "report.dcm")
    (tmp_path / "study" / "notes.txt").write_text("no image")
    return tmp_path / "study"


def test_several_series_are_listed_without_the_patient(two_series: Path) -> None:
    with pytest.raises(
        ValueError, match=r"found 2 series: 1\.2\.3 \(MR, 3 files, 12x20\); 1\.2\.4 \(MR, 2 files"
    ) as error:
        load_image(two_series)
    assert "Doe" not in str(error.value) and "4711" not in str(error.value)


@pytest.mark.parametrize(
    ("series", "slices"), [("1.2.3", 3), ("1.2.4", 2), ("largest", 3), ({"SeriesInstanceUID": r".*\.4"}, 2)]
)
def test_one_is_chosen(two_series: Path, series: Any, slices: int) -> None:
    assert load_image(two_series, series=series).shape == (1, 12, 20, slices)
    assert LoadMedicalImaged("image", rules={"series": series})({"image": two_series})["image"].shape[3] == slices


@pytest.mark.parametrize("series", ["1.2.5", {"Modality": "CT"}])
def test_none_matches(two_series: Path, series: Any) -> None:
    with pytest.raises(ValueError, match=r"none matches .*; found 2 series: 1\.2\.3"):
        load_image(two_series, series=series)


def test_zip_gives_what_its_folder_gives(two_series: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(two_series.rglob("*.*"), reverse=True):
            if file.is_file():
                archive.write(file, file.relative_to(two_series))
    zipped, folder = (load_image(path, series="1.2.3") for path in (tmp_path / "study.zip", two_series))
    assert torch.equal(zipped.as_tensor(), folder.as_tensor()) and torch.equal(zipped.affine, folder.affine)


def test_dicomdir_gives_the_files_that_it_lists() -> None:
    listed = load_image(DICOMDIR / "DICOMDIR", series="1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6")
    folder = load_image(DICOMDIR / "98892001" / "CT5N")
    assert listed.shape == (1, 16, 16, 5) and torch.equal(listed.as_tensor(), folder.as_tensor())


def test_dicomdir_that_lists_a_missing_file_is_refused(tmp_path: Path) -> None:
    shutil.copy(DICOMDIR / "DICOMDIR", tmp_path / "DICOMDIR")
    with pytest.raises(ValueError, match=r"DICOMDIR: lists 77654033/CR1/6154, which does not exist"):
        load_image(tmp_path / "DICOMDIR")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"tilted": "shear"}, "expected the rules series, localisers, .*, found tilted"),
        ({"tilt": "ignore"}, "tilt: expected one of refuse, shear, found 'ignore'"),
        ({"assume_spacing": [1, 2]}, "assume_spacing: expected millimetres"),
        ({"assume_spacing": [1, 2, 0]}, "assume_spacing: expected millimetres"),
    ],
)
def test_unknown_rules_are_refused(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SeriesRules.of(rules)
    with pytest.raises(ValueError, match=said):
        LoadMedicalImaged("image", rules=rules)


@pytest.mark.parametrize("reader", ["fedmed_transforms.DicomReader", "fedmed_transforms.NiftiReader"])
def test_readers_can_be_named_to_monai(two_series: Path, tmp_path: Path, reader: str) -> None:
    path = two_series / "1.2.3"
    ours = load_image(path)
    if reader.endswith("NiftiReader"):
        import nibabel as nib

        nib.save(nib.Nifti1Image(np.asarray(ours[0]), np.asarray(ours.affine)), tmp_path / "v.nii.gz")
        path = tmp_path / "v.nii.gz"
    theirs = LoadImage(reader=reader, ensure_channel_first=True)(path)
    assert isinstance(theirs, MetaTensor) and torch.equal(theirs.as_tensor(), ours.as_tensor())
    np.testing.assert_allclose(theirs.affine, ours.affine, atol=1e-6)


def test_monai_takes_a_volume_there_and_back(two_series: Path, tmp_path: Path) -> None:
    """Resampled, inverted and saved, a mark lies where it lay; and volumes of several scans form a batch."""
    load = LoadMedicalImaged("image", rules={"series": "1.2.3"})
    spaced = Compose([load, Spacingd("image", pixdim=(0.5, 0.5, 1.0), mode="nearest")])
    data = spaced({"image": two_series})
    assert data["image"].shape != (1, 12, 20, 3)
    back = Invertd("image", spaced, orig_keys="image", nearest_interp=True)(dict(data))["image"]
    original = load({"image": two_series})["image"]
    assert back.shape == original.shape and torch.equal(back.affine, original.affine)
    SaveImaged("image", output_dir=str(tmp_path / "out"), separate_folder=False, print_log=False)({"image": back})
    (saved,) = (tmp_path / "out").iterdir()
    np.testing.assert_allclose(load_image(saved).affine, original.affine, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(load_image(saved)), np.asarray(back))
    items = [{"image": str(two_series / "1.2.3")}, {"image": str(two_series / "1.2.3")}]
    (batch,) = DataLoader(Dataset(items, LoadMedicalImaged("image")), batch_size=2)
    assert batch["image"].shape == (2, 1, 12, 20, 3)


def test_a_log_line_says_once_which_way_images_take(two_series: Path, caplog: Any) -> None:
    from fedmed_transforms.loading import load

    load._log_device.cache_clear()
    with caplog.at_level("INFO", logger="fedmed_transforms.loading.load"):
        for _ in range(2):
            load_image(two_series / "1.2.4")
    assert [record.message for record in caplog.records if "on the CPU" in record.message] == [caplog.messages[0]]
