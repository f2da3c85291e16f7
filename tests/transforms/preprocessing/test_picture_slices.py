"""Pictures and single images as one slice, and back; labels beside them; volumes of one slice, which are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from fedmed_transforms import LoadMedicalImaged, load_image
from fedmed_transforms.preprocessing.slices import SlicesToVolume, SlicesToVolumed, VolumeToSlices, VolumeToSlicesd

CUT = VolumeToSlicesd("image", label_key="label")


def save_picture(path: Path, picture: Any) -> Path:
    Image.fromarray(picture).save(path)
    return path


def load_pair(image: Path, label: Path) -> dict[str, Any]:
    return dict(LoadMedicalImaged(["image", "label"])({"image": str(image), "label": str(label)}))


def test_a_grey_picture_is_one_slice_of_three_channels_and_comes_back(tmp_path: Path, letter: Any) -> None:
    image = load_image(save_picture(tmp_path / "f.png", letter))
    slices = VolumeToSlices()(image)
    assert slices.shape == (1, 3, 20, 12)
    for channel in range(3):
        np.testing.assert_array_equal(np.asarray(slices)[0, channel], letter)
    back = SlicesToVolume()(slices, slices)
    assert back.shape == (3, 12, 20) and torch.equal(back.as_tensor()[:1], image.as_tensor())
    assert back.meta.keys() == image.meta.keys() and back.meta["filename_or_obj"] == str(tmp_path / "f.png")


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_of_a_picture_are_kept(channels: int) -> None:
    picture = torch.rand(channels, 12, 20)
    slices = VolumeToSlices()(picture)
    assert torch.equal(slices.as_tensor(), picture.transpose(1, 2)[None])
    assert torch.equal(SlicesToVolume()(slices.as_tensor(), slices).as_tensor(), picture)


@pytest.mark.parametrize("classes", [1, 2])
def test_results_of_a_picture_have_its_axes_and_their_own_channels(tmp_path: Path, letter: Any, classes: int) -> None:
    image = load_image(save_picture(tmp_path / "f.png", np.stack([letter] * 3, axis=2)))
    results = torch.zeros(1, classes, 20, 12, dtype=torch.uint8)
    results[0, :, 2, 9] = 1  # row 2, column 9
    back = SlicesToVolumed("pred", source_key="image")({"image": VolumeToSlices()(image), "pred": results})["pred"]
    assert back.shape == (classes, 12, 20) and back.dtype == torch.uint8
    assert torch.nonzero(back.as_tensor()).tolist() == [[channel, 9, 2] for channel in range(classes)]


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_a_picture_may_be_the_label_of_one_dicom_image(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path], plane: str
) -> None:
    """Stored upside down: the label is turned upright as its image is, and goes back to its own pixels."""
    directions = {"axial": [-1, 0, 0, 0, -1, 0], "sagittal": [0, -1, 0, 0, 0, 1], "coronal": [-1, 0, 0, 0, 0, 1]}[plane]
    file = save_dicom(tmp_path / "f.dcm", letter[::-1, ::-1].copy(), plane, ImageOrientationPatient=directions)
    label = save_picture(tmp_path / "label.png", (letter[::-1, ::-1] > 0).astype(np.uint8))
    data = load_pair(file, label)
    assert data["image"].shape == (1, 12, 20, 1) and data["label"].shape == (1, 12, 20)
    cut = CUT(data)
    assert cut["image"].shape == (1, 3, 20, 12) and cut["label"].shape == (1, 1, 20, 12)
    np.testing.assert_array_equal(np.asarray(cut["image"])[0, 0], letter)
    np.testing.assert_array_equal(np.asarray(cut["label"])[0, 0], letter > 0)
    assert SlicesToVolume()(cut["image"], cut["image"]).shape == (3, 12, 20, 1)
    assert torch.equal(SlicesToVolume()(cut["label"], cut["label"]).as_tensor(), data["label"].as_tensor())


def test_a_dicom_photograph_and_a_picture_lie_nowhere(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]
) -> None:
    """An ultrasound image states its spacing but no position: there is no place at which its label could be missed."""
    file = save_dicom(tmp_path / "f.dcm", letter, Modality="US", ImagePositionPatient=None, PixelSpacing=[0.2, 0.2])
    data = load_pair(file, save_picture(tmp_path / "label.png", letter))
    assert data["image"].shape == data["label"].shape == (1, 12, 20)
    cut = CUT(data)
    assert torch.equal(cut["image"].as_tensor()[:, :1], cut["label"].as_tensor())


def test_a_slice_without_label_is_kept_if_it_is_the_only_one(tmp_path: Path, letter: Any) -> None:
    data = load_pair(save_picture(tmp_path / "f.png", letter), save_picture(tmp_path / "label.png", 0 * letter))
    found = VolumeToSlicesd("image", label_key="label", empty_every=5)(data)
    assert found["image"].shape == (1, 3, 20, 12) and found["image"].meta["slices"]["kept"] == [0]


@pytest.mark.parametrize("shape", [(12, 20, 1), (12, 1, 20), (1, 12, 20)])
def test_a_nifti_of_one_slice_is_no_training_data(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Its label lies on it, so that nothing else is wrong; without a label it is cut, for inference."""
    for name in ("scan", "label"):
        nib.save(nib.Nifti1Image(np.ones(shape, dtype=np.float32), np.eye(4)), tmp_path / f"{name}.nii.gz")
    data = load_pair(tmp_path / "scan.nii.gz", tmp_path / "label.nii.gz")
    with pytest.raises(ValueError, match=r"scan\.nii\.gz: found a volume of one slice, expected at least two"):
        CUT(data)
    assert VolumeToSlicesd("image")(data)["image"].shape[:2] == (1, 3)


def test_a_dicom_image_of_one_slice_and_a_label_at_its_place_are_training_data(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]
) -> None:
    file = save_dicom(tmp_path / "f.dcm", letter)
    image = nib.Nifti1Image((letter.T[..., None] > 0).astype(np.uint8), np.asarray(load_image(file).affine))
    nib.save(image, tmp_path / "label.nii")
    cut = CUT(load_pair(file, tmp_path / "label.nii"))
    np.testing.assert_array_equal(np.asarray(cut["label"])[0, 0], letter > 0)


def volume_file(path: Path, shape: tuple[int, ...]) -> Path:
    nib.save(nib.Nifti1Image(np.ones(shape, dtype=np.float32), np.diag([1.0, 1.0, 5.0, 1.0])), path)
    return path


def test_everything_else_that_differs_is_refused_with_both_files(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]
) -> None:
    dicom, picture = save_dicom(tmp_path / "f.dcm", letter), save_picture(tmp_path / "f.png", letter)
    small, turned = save_picture(tmp_path / "s.png", letter[1:]), save_picture(tmp_path / "t.png", letter.T.copy())
    flat, scan = volume_file(tmp_path / "flat.nii", (12, 20)), volume_file(tmp_path / "scan.nii", (12, 20, 3))
    wrong = [
        (picture, small, r"f\.png and .*s\.png: found the shapes \(12, 20\) and \(12, 19\)"),
        (dicom, turned, r"f\.dcm and .*t\.png: found the shapes \(12, 20\) and \(20, 12\)"),
        (picture, flat, r"f\.png and .*flat\.nii: found the shapes \(12, 20\) and \(12, 20, 1\)"),
        (dicom, flat, r"f\.dcm and .*flat\.nii: found corners"),
        (scan, picture, r"scan\.nii and .*f\.png: found the shapes \(12, 20, 3\) and \(12, 20\)"),
    ]
    for image, label, message in wrong:
        with pytest.raises(ValueError, match=message):
            CUT(load_pair(image, label))


def test_results_of_another_size_are_refused_with_the_picture() -> None:
    slices = VolumeToSlices()(MetaTensor(torch.zeros(1, 12, 20), meta={"filename_or_obj": "f.png"}))
    with pytest.raises(ValueError, match=r"f\.png: found results \(1, 1, 12, 20\), expected \(1, C, 20, 12\)"):
        SlicesToVolume()(torch.zeros(1, 1, 12, 20), slices)
