"""Volumes to slices and back: neighbours, left-out slices, and a round trip to the bit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from fedmed_transforms import LoadMedicalImaged, ToPictures
from fedmed_transforms.labels.labels import LabelsToChannelsd
from fedmed_transforms.preprocessing.pictures import cut_of
from fedmed_transforms.preprocessing.sam import SamPreprocessd
from fedmed_transforms.preprocessing.sam_masks import SamLabelsd, SamPostprocessd
from fedmed_transforms.preprocessing.slices import SlicesToVolume, SlicesToVolumed, VolumeToSlices, VolumeToSlicesd
from fedmed_transforms.preprocessing.window import Windowd

ORIENTATIONS = [
    "".join(codes)
    for pairs in itertools.permutations(("RL", "AP", "SI"))
    for codes in itertools.product(*pairs)
]  # fmt: skip


def affine_of(codes: str, spacing: tuple[float, ...] = (1.0, 1.5, 5.0), oblique: bool = False) -> Any:
    """Axes in the order and direction of the codes, off the origin."""
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), (4, 5, 6))
    affine = affine @ np.diag([*spacing, 1.0])
    affine[:3, 3] += (-20.0, 7.0, 3.5)
    turn = np.eye(4)
    if oblique:
        turn[:3, :3] = np.linalg.qr(np.eye(3) + 0.2 * np.random.default_rng(0).normal(size=(3, 3)))[0]
    return turn @ affine


def volume_of(channels: int = 1, codes: str = "RAS", file: str = "scan.nii", **options: Any) -> MetaTensor:
    values = torch.arange(channels * 120, dtype=torch.float32).view(channels, 4, 5, 6)
    return MetaTensor(values, affine=torch.as_tensor(affine_of(codes, **options)), meta={"filename_or_obj": file})


def label_with(*places: int) -> MetaTensor:
    """Axial, six slices from superior to inferior: one voxel is labelled in those named."""
    label = torch.zeros(1, 4, 5, 6)
    for place in places:
        label[0, 1, 2, 5 - place] = 1
    return MetaTensor(label, affine=torch.as_tensor(affine_of("RAS")), meta={"filename_or_obj": "label.nii"})


def test_one_slice_is_three_channels() -> None:
    image = volume_of()
    slices, pictures = VolumeToSlices()(image), ToPictures()(image)
    assert slices.shape == (6, 3, 5, 4)
    for channel in range(3):
        assert torch.equal(slices.as_tensor()[:, channel], pictures.as_tensor()[:, 0])


def test_neighbours_are_channels_and_edges_stand_in_for_theirs() -> None:
    image = volume_of()
    slices, pictures = VolumeToSlices(neighbours=True)(image).as_tensor(), ToPictures()(image).as_tensor()[:, 0]
    around = [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 5]]
    for place, places in enumerate(around):
        assert torch.equal(slices[place], pictures[places])


@pytest.mark.parametrize("shape", [(1, 4, 5, 1), (1, 4, 1, 6), (1, 4, 5)])
def test_a_single_slice_has_no_neighbours(shape: tuple[int, ...]) -> None:
    image = MetaTensor(torch.rand(shape), meta={"filename_or_obj": "scan.nii"})
    assert VolumeToSlices()(image).shape[:2] == (1, 3)
    with pytest.raises(ValueError, match=r"scan\.nii: found one slice, expected at least two to have neighbours"):
        VolumeToSlices(neighbours=True)(image)


def test_several_channels_are_kept() -> None:
    assert VolumeToSlices()(volume_of(channels=4)).shape == (6, 4, 5, 4)
    with pytest.raises(ValueError, match=r"scan\.nii: found 4 channels, expected one"):
        VolumeToSlices(neighbours=True)(volume_of(channels=4))


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.5, 5.0), (6.0, 1.0, 1.0), (0.5, 4.0, 0.5)])
def test_round_trip_to_the_bit(spacing: tuple[float, ...], oblique: bool) -> None:
    for codes in ORIENTATIONS:
        image = volume_of(channels=2, codes=codes, spacing=spacing, oblique=oblique)
        slices = VolumeToSlices()(image)
        back = SlicesToVolume()(slices, slices)
        assert torch.equal(back.as_tensor(), image.as_tensor()), codes
        assert torch.equal(back.affine, image.affine), codes
        assert back.meta["filename_or_obj"] == "scan.nii" and back.meta.keys() == image.meta.keys()


def test_plain_tensors_make_the_round_trip() -> None:
    image = torch.rand(2, 4, 5, 6)
    slices = VolumeToSlices()(image)
    assert torch.equal(slices.as_tensor(), image.permute(3, 0, 2, 1))
    assert torch.equal(SlicesToVolume()(slices.as_tensor(), slices).as_tensor(), image)


def test_left_out_slices_are_zero_and_the_others_in_their_place() -> None:
    image = volume_of()
    slices = VolumeToSlices(neighbours=True)(image, kept=[1, 4])
    results = torch.full((2, 1, 5, 4), 7, dtype=torch.uint8)
    back = SlicesToVolume()(results, slices)
    assert back.shape == (1, 4, 5, 6) and back.dtype == torch.uint8
    assert back.as_tensor()[0].amax(dim=(0, 1)).tolist() == [0, 7, 0, 0, 7, 0]  # inferior to superior
    assert torch.equal(ToPictures()(back).as_tensor()[[1, 4]], results)


@pytest.mark.parametrize(
    ("labelled", "every", "kept"),
    [
        ((2, 3), None, [0, 1, 2, 3, 4, 5]),
        ((2, 3), 5, [0, 2, 3, 5]),
        ((), 5, [0, 5]),
        ((0, 1, 2, 3, 4, 5), 5, [0, 1, 2, 3, 4, 5]),
        ((1,), 2, [0, 1, 2, 4]),
    ],
)
def test_slices_without_label_are_kept_one_in_so_many(labelled: tuple[int, ...], every: int, kept: list[int]) -> None:
    transform = VolumeToSlicesd("image", label_key="label", neighbours=True, empty_every=every)
    found = transform({"image": volume_of(), "label": label_with(*labelled), "site": 3})
    assert found["site"] == 3 and found["image"].meta["slices"]["kept"] == kept
    assert found["image"].shape == (len(kept), 3, 5, 4) and found["label"].shape == (len(kept), 1, 5, 4)
    whole = VolumeToSlices(neighbours=True)(volume_of())
    assert torch.equal(found["image"].as_tensor(), whole.as_tensor()[kept])
    filled = found["label"].as_tensor().flatten(1).any(dim=1).tolist()
    assert [place for place, any_label in zip(kept, filled, strict=True) if any_label] == list(labelled)


def test_label_and_images_are_cut_alike_and_go_back() -> None:
    """The first image's header decides for an isotropic volume whose label has rounded numbers in its header."""
    image = volume_of(spacing=(1.0, 1.0, 1.0))
    label = MetaTensor(image.as_tensor() % 2, affine=image.affine + 0.004, meta={"filename_or_obj": "label.nii"})
    second = volume_of(spacing=(1.0, 1.0, 1.0), file="second.nii")
    cut = VolumeToSlicesd(["image", "second"], label_key="label")({"image": image, "second": second, "label": label})
    assert torch.equal(cut["image"].as_tensor(), cut["second"].as_tensor())
    back = SlicesToVolumed("label", source_key="image")(cut)["label"]
    assert torch.equal(back.as_tensor(), label.as_tensor()) and torch.equal(back.affine, image.affine)


def test_from_a_file_to_the_network_and_back_to_the_volume(tmp_path: Path) -> None:
    """A CT with a sphere and its label, sagittal: certain logits of the label's slices are the sphere again."""
    across, up, along = np.meshgrid(
        np.linspace(-1, 1, 12), np.linspace(-1, 1, 60), np.linspace(-1, 1, 48), indexing="ij"
    )
    sphere = (across**2 + (up - 0.2) ** 2 + (along + 0.1) ** 2 < 0.4).astype(np.int16)
    affine = affine_of("LAS", spacing=(5.0, 1.0, 1.0), oblique=True)
    nib.save(nib.Nifti1Image(sphere * 400 - 200, affine), tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(sphere * 4, affine), tmp_path / "label.nii.gz")
    preprocess = Compose([
        LoadMedicalImaged(["image", "label"]), Windowd("image", [0, 401]),
        LabelsToChannelsd("label", {"tumour": [4]}), VolumeToSlicesd("image", "label", neighbours=True, empty_every=5),
        SamPreprocessd("image", 96, normalize=False), SamLabelsd("label", 96, label_size=48),
    ])  # fmt: skip
    data = preprocess({"image": str(tmp_path / "ct.nii.gz"), "label": str(tmp_path / "label.nii.gz")})
    assert data["image"].shape == (len(data["label"]), 3, 96, 96) and data["label"].shape[1:] == (1, 48, 48)
    assert data["image"].meta["slices"]["kept"] == [0, 3, 4, 5, 6, 7, 8, 10]  # the first and the tenth are empty
    postprocess = Compose([SamPostprocessd("logits", "image", 96), SlicesToVolumed("logits", "image")])
    found = postprocess({**data, "logits": 20 * data["label"].as_tensor() - 10})["logits"]
    overlap = 2 * np.sum(sphere * (np.asarray(found)[0] > 0)) / (sphere.sum() + np.sum(np.asarray(found) > 0))
    assert found.shape == (1, 12, 60, 48) and overlap > 0.97
    np.testing.assert_allclose(np.asarray(found.affine), affine, atol=1e-5)


def test_without_a_label_nothing_is_left_out() -> None:
    found = VolumeToSlicesd("image")({"image": volume_of()})
    assert found["image"].meta["slices"]["kept"] == [0, 1, 2, 3, 4, 5]
    assert VolumeToSlicesd(("image", "absent"), allow_missing_keys=True)({"image": volume_of()}).keys() == {"image"}


def test_label_of_another_geometry_is_refused_with_both_files() -> None:
    transform = VolumeToSlicesd("image", label_key="label")
    with pytest.raises(ValueError, match=r"scan\.nii and label\.nii: found the shapes \(4, 5, 6\) and \(4, 5, 7\)"):
        transform({"image": volume_of(), "label": MetaTensor(torch.zeros(1, 4, 5, 7), meta=label_with().meta)})
    with pytest.raises(
        ValueError, match=r"scan\.nii and label\.nii: found corners .* mm apart, expected at most 0\.1"
    ):
        transform({"image": volume_of(codes="LAS"), "label": label_with()})


def test_what_does_not_fit_is_refused_with_the_file() -> None:
    slices = VolumeToSlices()(volume_of(), kept=[0, 1])
    with pytest.raises(ValueError, match=r"scan\.nii: found results \(3, 1, 5, 4\), expected \(2, C, 5, 4\)"):
        SlicesToVolume()(torch.zeros(3, 1, 5, 4), slices)
    with pytest.raises(ValueError, match=r"scan\.nii: found no 'slices' in the metadata"):
        SlicesToVolume()(torch.zeros(6, 1, 5, 4), volume_of())
    for shape in ((4, 5), (1, 4, 5, 6, 7)):
        with pytest.raises(ValueError, match=r"scan\.nii: expected a volume \(C, X, Y, Z\) or a picture \(C, X, Y\)"):
            VolumeToSlices()(MetaTensor(torch.zeros(shape), meta=volume_of().meta))


@pytest.mark.parametrize("options", [{"empty_every": 5}, {"empty_every": 0, "label_key": "label"}])
def test_leaving_out_needs_a_label_and_a_number(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="empty_every: expected a positive number and a label_key"):
        VolumeToSlicesd("image", **options)


def test_cut_of_a_sagittal_scan() -> None:
    """Axes to the right, anterior, superior with slices 6 mm apart from left to right."""
    cut = cut_of(volume_of(spacing=(6.0, 1.0, 1.0)))
    assert cut.order == (0, 2, 1) and cut.flipped == (0, 1, 2)
