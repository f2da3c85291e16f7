"""Slices to train on and whole images to be judged by: what they hold, where they are kept, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandFlipd
from PIL import Image

from fedmed_transforms import (
    LabelsToChannelsd,
    LoadMedicalImaged,
    MatchedLabeld,
    SamLabelsd,
    SamPreprocessd,
    ScaleToUnitd,
    VolumeToSlicesd,
)
from fedmed_workflows.sites.datasets.slices import ImageDataset, SliceDataset

SIZE = 32
KEYS = ["image", "label"]


def whole() -> Compose:
    """Paths to an image and its channels."""
    return Compose([
        LoadMedicalImaged(KEYS), LabelsToChannelsd("label", {"organ": [1]}), MatchedLabeld("label", "image"),
        ScaleToUnitd("image"),
    ])  # fmt: skip


def cut(**options: Any) -> Compose:
    return Compose([whole(), VolumeToSlicesd("image", label_key="label", **options)])


def to_network() -> Compose:
    return Compose([SamPreprocessd("image", image_size=SIZE, normalize=False), SamLabelsd("label", image_size=SIZE)])


def write_volume(folder: Path, stem: str, slices: int = 4, value: int = 1, **of_label: Any) -> dict[str, str]:
    """A volume 24 x 20 x slices of 5 mm, brighter from slice to slice, whose second slice has a label."""
    folder.mkdir(exist_ok=True)
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    image = np.arange(1, slices + 1, dtype=np.float32) * np.ones((24, 20, 1), np.float32)
    label = np.zeros(of_label.get("shape", image.shape), np.uint8)
    label[2:12, 4:10, min(1, label.shape[2] - 1)] = value
    paths = {"image": str(folder / f"{stem}_image.nii.gz"), "label": str(folder / f"{stem}_label.nii.gz")}
    nibabel.save(nibabel.Nifti1Image(image, affine), paths["image"])
    nibabel.save(nibabel.Nifti1Image(label, of_label.get("affine", affine)), paths["label"])
    return paths


@pytest.fixture
def data(tmp_path: Path) -> list[dict[str, str]]:
    return [write_volume(tmp_path / "site", "a"), write_volume(tmp_path / "site", "b", slices=3)]


@pytest.mark.parametrize("kept", ["disk", "memory"])
def test_every_slice_is_a_sample(data: list[dict[str, str]], tmp_path: Path, kept: str) -> None:
    dataset = SliceDataset(data, cut(), to_network(), tmp_path / "cache" if kept == "disk" else None)
    assert len(dataset) == 7 and [dataset[index]["item"] for index in range(7)] == [0, 0, 0, 0, 1, 1, 1]
    samples = [dataset[index] for index in range(7)]
    assert {tuple(sample["image"].shape) for sample in samples} == {(3, SIZE, SIZE)}
    assert {tuple(sample["label"].shape) for sample in samples} == {(1, SIZE // 4, SIZE // 4)}
    bright = [round(float(sample["image"].max()), 3) for sample in samples]
    assert min(bright[:4]) == min(bright[4:]) == 0 and sorted(bright[:4]) in (bright[:4], bright[3::-1])
    assert [bool(sample["label"].any()) for sample in samples].count(True) == 2


def test_what_is_kept_is_read_again_to_the_bit(data: list[dict[str, str]], tmp_path: Path) -> None:
    first = SliceDataset(data, cut(), to_network(), tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    again = SliceDataset(data, cut(), to_network(), tmp_path / "cache")
    in_memory = SliceDataset(data, cut(), to_network())
    for index in range(len(first)):
        for other in (again, in_memory):
            assert all(torch.equal(first[index][key], other[index][key]) for key in KEYS)
    assert len(files) == 2 and files == {path: path.stat().st_mtime_ns for path in files}
    SliceDataset(data, cut(neighbours=True), to_network(), tmp_path / "cache")
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 4  # another preprocessing, other slices


def test_a_grey_slice_is_kept_once_and_neighbours_thrice(data: list[dict[str, str]]) -> None:
    alone, beside = (SliceDataset(data, cut(neighbours=neighbours), to_network()) for neighbours in (False, True))
    assert [tuple(kept["image"].shape) for kept in alone.kept] == [(4, 1, 20, 24), (3, 1, 20, 24)]
    assert [tuple(kept["image"].shape) for kept in beside.kept] == [(4, 3, 20, 24), (3, 3, 20, 24)]
    centre = [dataset[1]["image"][1] for dataset in (alone, beside)]
    torch.testing.assert_close(*centre)
    assert not torch.equal(beside[1]["image"][0], beside[1]["image"][2])


def test_empty_slices_are_left_out_by_the_rule(data: list[dict[str, str]]) -> None:
    assert len(SliceDataset(data, cut(empty_every=5), to_network())) == 4  # the first slice and the labelled one


def test_random_transforms_belong_to_the_slices(data: list[dict[str, str]]) -> None:
    flipped = Compose([RandFlipd(KEYS, prob=1.0, spatial_axis=1), to_network()])
    plain, turned = SliceDataset(data, cut(), to_network()), SliceDataset(data, cut(), flipped)
    row = plain[1]["label"][0].any(dim=0)
    assert not torch.equal(row, turned[1]["label"][0].any(dim=0)) or torch.equal(row, row.flip(0))
    with pytest.raises(ValueError, match="found random transforms"):
        SliceDataset(data, Compose([cut(), RandFlipd(KEYS)]), to_network())


def test_a_damaged_entry_is_made_again(data: list[dict[str, str]], tmp_path: Path) -> None:
    first = SliceDataset(data, cut(), to_network(), tmp_path / "cache")
    expected = [first[index]["image"] for index in range(len(first))]
    for file in (tmp_path / "cache").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-7])
    again = SliceDataset(data, cut(), to_network(), tmp_path / "cache")
    assert all(torch.equal(again[index]["image"], value) for index, value in enumerate(expected))


@pytest.mark.parametrize(
    "of_label, named",
    [
        ({"shape": (24, 20, 3)}, r"found the shapes \(24, 20, 4\) and \(24, 20, 3\), expected the same"),
        ({"affine": np.diag([1.0, 1.0, 4.0, 1.0])}, "found corners 3 mm apart, expected at most 0.1"),
        ({"value": 7}, r"c_label.nii.gz: found the label values 7, expected \[0, 1\]"),
        ({"slices": 1}, "c_image.nii.gz: found a volume of one slice, expected at least two"),
    ],
)
@pytest.mark.parametrize("kind", ["slices", "images"])
def test_a_wrong_label_is_refused_by_name(
    data: list[dict[str, str]], tmp_path: Path, of_label: dict[str, Any], named: str, kind: str
) -> None:
    wrong = [*data, write_volume(tmp_path / "site", "c", **of_label)]
    with pytest.raises(ValueError, match=named) as refused:
        SliceDataset(wrong, cut(), to_network()) if kind == "slices" else ImageDataset(wrong, whole())
    assert "c_" in str(refused.value)


def test_labels_that_are_all_empty_are_refused(tmp_path: Path) -> None:
    empty = [write_volume(tmp_path / "site", stem, value=0) for stem in "ab"]
    with pytest.raises(ValueError, match="a_label.nii.gz: found no labelled voxel in this label and the 1 others"):
        SliceDataset(empty, cut(), to_network())
    assert len(ImageDataset(empty, whole())) == 2  # a part of a site may be empty
    with pytest.raises(ValueError, match="a_label.nii.gz: found no labelled voxel in this label and the 1 others"):
        ImageDataset(empty, whole(), labelled=True)


def test_pictures(tmp_path: Path) -> None:
    colours = np.zeros((10, 16, 3), np.uint8)
    colours[2:6, 3:9, 0] = 255
    Image.fromarray(colours).save(tmp_path / "a.png")
    Image.fromarray((colours[..., 0] > 0).astype(np.uint8)).save(tmp_path / "b.png")
    data = [{"image": str(tmp_path / "a.png"), "label": str(tmp_path / "b.png")}]
    (sample,) = [SliceDataset(data, cut(), to_network())[0]]
    assert sample["image"][0].max() > 0.9 and not sample["image"][1:].any()
    assert sample["label"].shape == (1, 8, 8) and sample["label"][0, 1:3, 2:4].all() and sample["label"].sum() <= 8
    image = ImageDataset(data, whole())[0]
    assert image["image"].shape == (3, 16, 10) and image["label"].shape == (1, 16, 10)
