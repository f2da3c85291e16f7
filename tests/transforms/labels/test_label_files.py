"""Files as labels: numbers survive every format, and a DICOM segmentation is a label on its image's grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image
from pydicom.uid import VLPhotographicImageStorage

from fedmed_transforms import (
    LabelsToChannelsd,
    LoadMedicalImaged,
    SegmentationToLabelsd,
    VolumeToSlicesd,
    load_image,
    write_segmentation,
)

LOAD = LoadMedicalImaged(["image", "label"])
TO_LABELS = SegmentationToLabelsd("label", image_key="image")


def files(image: Path, label: Path) -> dict[str, str]:
    return {"image": str(image), "label": str(label)}


def test_instance_numbers_of_sixteen_bits(tmp_path: Path, letter: Any) -> None:
    """257 and 60001 are other nuclei than 1: no number is cut to 8 bits."""
    numbers = np.zeros(letter.shape, dtype=np.uint16)
    numbers[3, 4], numbers[5, 6], numbers[7, 2] = 60001, 257, 1
    Image.fromarray(letter).save(tmp_path / "f.png")
    Image.fromarray(numbers).save(tmp_path / "label.png")
    chain = Compose([LOAD, LabelsToChannelsd("label", {"nuclei": "nonzero"}), VolumeToSlicesd("image", "label")])
    assert torch.equal(
        LOAD(files(tmp_path / "f.png", tmp_path / "label.png"))["label"].as_tensor()[0],
        torch.from_numpy(numbers.T.astype(np.float32)),
    )
    label = chain(files(tmp_path / "f.png", tmp_path / "label.png"))["label"]
    assert torch.nonzero(label.as_tensor()).tolist() == [[0, 0, 3, 4], [0, 0, 5, 6], [0, 0, 7, 2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_a_nifti_label_of_any_type(tmp_path: Path, dtype: Any) -> None:
    values = np.zeros((5, 4, 3), dtype=dtype)
    values[1, 2, 0], values[3, 1, 2] = 4, 2
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "label.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((5, 4, 3), dtype=np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    chain = Compose([LOAD, TO_LABELS, LabelsToChannelsd("label", {"core": [4], "whole": [2, 4]})])
    found = chain(files(tmp_path / "scan.nii.gz", tmp_path / "label.nii.gz"))["label"]
    assert torch.nonzero(found.as_tensor()).tolist() == [[0, 1, 2, 0], [1, 1, 2, 0], [1, 3, 1, 2]]


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
@pytest.mark.parametrize("drawn", [(1,), (0, 4), (1, 3), (0, 1, 2, 3, 4)])
def test_a_segmentation_is_a_label_on_its_series(
    tmp_path: Path, save_series: Callable[..., Path], plane: str, drawn: tuple[int, ...]
) -> None:
    """A disc in some slices, in the first of them with a cup in it: the file holds no slice before or after them."""
    series = save_series(tmp_path / "eye", plane)
    image = load_image(series)
    disc, cup = torch.zeros(2, *image.shape[1:], dtype=torch.bool)
    disc[1:4, 2:7, list(drawn)] = True
    cup[2, 3, drawn[0]] = True
    write_segmentation(MetaTensor(torch.stack([disc, cup]), meta=image.meta), series, tmp_path / "eye.dcm", ["d", "c"])
    data = TO_LABELS(LOAD(files(series, tmp_path / "eye.dcm")))
    assert data["label"].shape == (1, 6, 9, 5) and data["label"].dtype == torch.float32
    assert torch.equal(data["label"].as_tensor()[0], disc.float() + cup.float())
    assert data["label"].meta["filename_or_obj"] == str(tmp_path / "eye.dcm")
    cut = Compose([LabelsToChannelsd("label", {"disc": [1, 2], "cup": [2]}), VolumeToSlicesd("image", "label")])(data)
    assert cut["label"].shape == (5, 2, *cut["image"].shape[2:])
    assert cut["label"].sum(dim=(0, 2, 3)).tolist() == [15 * len(drawn), 1]


def test_a_segmentation_of_one_image_and_of_a_photograph(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]
) -> None:
    placed = {"FrameOfReferenceUID": "1.3"}
    photograph = {
        "SOPClassUID": VLPhotographicImageStorage, "Modality": "XC", "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
    }  # fmt: skip
    for name, elements, shape in (("slice", placed, (1, 12, 20, 1)), ("photo", photograph, (1, 12, 20))):
        file = save_dicom(tmp_path / f"{name}.dcm", letter, StudyInstanceUID="1.2", **elements)
        image = load_image(file)
        write_segmentation(MetaTensor(image > 0, meta=image.meta), file, tmp_path / f"{name}_label.dcm", ["letter"])
        data = Compose([LOAD, TO_LABELS])(files(file, tmp_path / f"{name}_label.dcm"))
        assert data["label"].shape == shape
        assert torch.equal(data["label"].as_tensor(), (image.as_tensor() > 0).float())
        assert VolumeToSlicesd("image", "label")(data)["label"].shape == (1, 1, 20, 12)


def test_a_segmentation_of_another_series_is_refused_with_both_files(
    tmp_path: Path, save_series: Callable[..., Path]
) -> None:
    axial, coronal = save_series(tmp_path / "a", "axial"), save_series(tmp_path / "b", "coronal")
    image = load_image(axial)
    write_segmentation(MetaTensor(torch.ones_like(image), meta=image.meta), axial, tmp_path / "a.dcm", ["all"])
    with pytest.raises(
        ValueError, match=r"a\.dcm and .*/b: mask of 6 x 9 x 5 voxels .*: expected the grid of the image"
    ):
        TO_LABELS(LOAD(files(coronal, tmp_path / "a.dcm")))
    fewer = save_series(tmp_path / "c", "axial")
    (fewer / "e.dcm").unlink()
    with pytest.raises(ValueError, match=r"a\.dcm and .*/c: mask of 6 x 9 x 5 voxels .*4 slices of 6 x 9 pixels"):
        TO_LABELS(LOAD(files(fewer, tmp_path / "a.dcm")))
