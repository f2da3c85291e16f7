"""Upright pictures: an F stays an F from every format, plane and orientation in which a file may store it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image

from fedmed_transforms import LoadMedicalImaged, ToPictures, ToPicturesd

LOAD, TO_PICTURES = LoadMedicalImaged("image"), ToPicturesd("image")

PLANES = ("sagittal", "coronal", "axial")
"""By the axis of the patient that they are cut across: right to left, anterior to posterior, superior to inferior."""

ORIENTATIONS = [
    "".join(codes) for pairs in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*pairs)
]
"""All 48 orders and directions in which a file may store its axes."""


def pictures(path: Path) -> Any:
    return np.asarray(TO_PICTURES(LOAD({"image": str(path)}))["image"])


def stack_of(letter: Any, slices: int = 3) -> Any:
    """(N, rows, columns): F's that grow darker from slice to slice."""
    return np.stack([letter // (number + 1) for number in range(slices)])


def volume_of(stack: Any, plane: str) -> Any:
    """The patient, axes to the right, anterior and superior, whose pictures in a plane are the stack.

    As on a radiologist's screen: axially and coronally the patient's right is on the left, sagittally the patient
    faces left, the first slice is the rightmost, the most anterior or the uppermost.
    """
    left_posterior_inferior = {
        "axial": stack.transpose(2, 1, 0),  # slice, posterior, left
        "coronal": stack.transpose(2, 0, 1),  # slice, inferior, left
        "sagittal": stack.transpose(0, 2, 1),  # slice, inferior, posterior
    }[plane]
    return left_posterior_inferior[::-1, ::-1, ::-1]


def save_nifti(path: Path, volume: Any, spacing: tuple[float, ...], codes: str = "RAS", turn: Any = None) -> Path:
    """Stores a volume (axes to the right, anterior, superior) with its axes in another order and direction."""
    affine = np.diag([*spacing, 1.0])
    image = nib.Nifti1Image(volume.astype(np.float32), affine if turn is None else turn @ affine)
    order = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    nib.save(image.as_reoriented(order), path)
    return path


def spacing_of(plane: str) -> tuple[float, ...]:
    return tuple(5.0 if plane == name else 1.0 for name in PLANES)


def test_png(tmp_path: Path, letter: Any) -> None:
    Image.fromarray(letter).save(tmp_path / "f.png")
    np.testing.assert_array_equal(pictures(tmp_path / "f.png"), letter[None, None])


def test_colour_png(tmp_path: Path, letter: Any) -> None:
    colours = np.stack([letter, letter // 2, letter // 3], axis=2)
    Image.fromarray(colours).save(tmp_path / "f.png")
    np.testing.assert_array_equal(pictures(tmp_path / "f.png"), colours.transpose(2, 0, 1)[None])


@pytest.mark.parametrize("plane", PLANES)
def test_dicom_file(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path], plane: str) -> None:
    np.testing.assert_array_equal(pictures(save_dicom(tmp_path / "f.dcm", letter, plane)), letter[None, None])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("first_to_last", [1, -1])
def test_dicom_series(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path], plane: str, first_to_last: int
) -> None:
    stack = stack_of(letter)
    for number, picture in enumerate(stack):
        position = 4.0 * number * first_to_last
        save_dicom(tmp_path / f"{number}.dcm", picture, plane, number + 1, position)
    # positions grow to the left, posterior and superior; pictures come from the right, anterior and superior
    runs_along = (first_to_last > 0) == (plane != "axial")
    np.testing.assert_array_equal(pictures(tmp_path), (stack if runs_along else stack[::-1])[:, None])


@pytest.mark.parametrize("plane", PLANES)
def test_nifti_of_thick_slices_in_every_orientation(tmp_path: Path, letter: Any, plane: str) -> None:
    stack = stack_of(letter)
    for codes in ORIENTATIONS:
        path = save_nifti(tmp_path / f"{codes}.nii", volume_of(stack, plane), spacing_of(plane), codes)
        found = pictures(path)
        assert found.shape == (3, 1, *letter.shape), codes
        np.testing.assert_array_equal(found[:, 0], stack, err_msg=codes)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "SAL"])
def test_isotropic_nifti_is_cut_axially(tmp_path: Path, letter: Any, codes: str) -> None:
    path = save_nifti(tmp_path / "f.nii.gz", volume_of(stack_of(letter), "axial"), (1.0, 1.0, 1.0), codes)
    np.testing.assert_array_equal(pictures(path)[:, 0], stack_of(letter))


@pytest.mark.parametrize("plane", PLANES)
def test_oblique_nifti_is_cut_along_its_slices(tmp_path: Path, letter: Any, plane: str) -> None:
    """However it is turned: a picture shows what the scanner saw in one slice."""
    sums = sorted(float(picture.sum()) for picture in stack_of(letter))
    for seed in range(40):
        turn = np.eye(4)
        turn[:3, :3] = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        path = save_nifti(tmp_path / f"{seed}.nii", volume_of(stack_of(letter), plane), spacing_of(plane), turn=turn)
        assert sorted(float(picture.sum()) for picture in pictures(path)) == sums, turn


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("thickness", [1.0, 0.5, 8.0])
def test_nifti_of_one_slice_is_one_picture(tmp_path: Path, letter: Any, plane: str, thickness: float) -> None:
    spacing = tuple(thickness if plane == name else 1.0 for name in PLANES)
    path = save_nifti(tmp_path / "f.nii", volume_of(letter[None], plane), spacing, "LSP")
    np.testing.assert_array_equal(pictures(path), letter[None, None])


def test_flat_nifti_agrees_with_its_volume_of_one_slice(tmp_path: Path, letter: Any) -> None:
    volume = volume_of(letter[None], "axial")
    nib.save(nib.Nifti1Image(volume[:, :, 0], np.eye(4)), tmp_path / "flat.nii")
    np.testing.assert_array_equal(pictures(tmp_path / "flat.nii"), letter[None, None])


def test_metadata_goes_along(tmp_path: Path, letter: Any) -> None:
    Image.fromarray(letter).save(tmp_path / "f.png")
    found = TO_PICTURES(LOAD({"image": str(tmp_path / "f.png"), "label": 3}))
    assert found["label"] == 3 and found["image"].meta["filename_or_obj"] == str(tmp_path / "f.png")


def test_tensors_without_metadata() -> None:
    assert ToPictures()(torch.zeros(3, 4, 5)).shape == (1, 3, 5, 4)
    assert ToPictures()(torch.zeros(1, 4, 5, 6)).shape == (6, 1, 5, 4)


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5), (5, 4, 5, 6), (1, 4, 5, 6, 7)])
def test_other_shapes_are_refused_with_the_file(shape: tuple[int, ...]) -> None:
    image = MetaTensor(torch.zeros(shape), meta={"filename_or_obj": "scan.nii"})
    with pytest.raises(ValueError, match=r"scan\.nii: expected shape"):
        ToPictures()(image)
