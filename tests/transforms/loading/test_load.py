"""Files to tensors: every format as it looks, and errors that name the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from PIL import Image
from pydicom.data import get_testdata_file

from fedmed_transforms import LoadMedicalImaged
from fedmed_transforms.dicom.series import is_dicom
from fedmed_transforms.image_metadata import FULL_SCALE


def load(path: Path | str) -> MetaTensor:
    return LoadMedicalImaged("image")({"image": str(path)})["image"]


def rows_first(image: torch.Tensor) -> Any:
    """(C, X, Y) or (C, X, Y, 1) to (Y, X) or (Y, X, C), as numpy and PIL hold pictures."""
    flat = np.asarray(image)[..., 0] if image.ndim == 4 else np.asarray(image)
    return np.squeeze(flat.transpose(2, 1, 0), axis=2 if len(image) == 1 else ())


def coloured() -> Any:
    """(10, 14, 3) uint8 with blocks of pure colours."""
    picture = np.zeros((10, 14, 3), dtype=np.uint8)
    picture[:4, :5], picture[:4, 5:] = (255, 0, 0), (0, 255, 0)
    picture[4:, :9], picture[4:, 9:] = (0, 0, 255), (9, 8, 7)
    return picture


def shipped(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return str(path)


def test_is_monais_loader() -> None:
    assert isinstance(LoadMedicalImaged("image"), LoadImaged)


@pytest.mark.parametrize("name", ["f.png", "f.bmp"])
def test_grey_picture(tmp_path: Path, letter: Any, name: str) -> None:
    Image.fromarray(letter).save(tmp_path / name)
    image = load(tmp_path / name)
    assert image.shape == (1, 12, 20) and image.dtype == torch.float32 and image.meta[FULL_SCALE] == 255
    np.testing.assert_array_equal(rows_first(image), letter)


def test_colour_picture(tmp_path: Path) -> None:
    Image.fromarray(coloured()).save(tmp_path / "c.png")
    np.testing.assert_array_equal(rows_first(load(tmp_path / "c.png")), coloured())


def test_jpg(tmp_path: Path) -> None:
    smooth = np.linspace(20, 220, 1200).reshape(30, 40).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "s.jpg", quality=95)
    assert np.abs(rows_first(load(tmp_path / "s.jpg")) - smooth).max() < 6


def test_palette_becomes_colours(tmp_path: Path) -> None:
    Image.fromarray(coloured()).quantize(8).save(tmp_path / "p.png")
    assert Image.open(tmp_path / "p.png").mode == "P"
    np.testing.assert_array_equal(rows_first(load(tmp_path / "p.png")), coloured())


def test_alpha_is_dropped(tmp_path: Path, letter: Any) -> None:
    Image.fromarray(coloured()).convert("RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(rows_first(load(tmp_path / "a.png")), coloured())
    Image.fromarray(letter).convert("LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(rows_first(load(tmp_path / "la.png")), letter)


def test_one_bit_is_black_and_white(tmp_path: Path, letter: Any) -> None:
    Image.fromarray(letter > 0).save(tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").mode == "1"
    np.testing.assert_array_equal(rows_first(load(tmp_path / "b.png")), 255.0 * (letter > 0))


def test_sixteen_bits_keep_their_values(tmp_path: Path, letter: Any) -> None:
    deep = letter.astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save(tmp_path / "d.png")
    np.testing.assert_array_equal(rows_first(load(tmp_path / "d.png")), deep)
    assert load(tmp_path / "d.png").meta[FULL_SCALE] == 65535


@pytest.mark.parametrize(("orientation", "undo"), [(3, 2), (6, 3), (8, 1)])
def test_exif_turns_the_picture(tmp_path: Path, letter: Any, orientation: int, undo: int) -> None:
    """A camera that was held sideways stores the picture turned, and says so."""
    stored = np.rot90(letter, -undo)  # what a viewer must turn back
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "e.jpg", quality=100, exif=exif)
    seen = rows_first(load(tmp_path / "e.jpg"))
    assert seen.shape == letter.shape and np.abs(seen - letter).max() < 10


def test_nifti_keeps_values_and_affine(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "v.nii.gz")
    image = load(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(np.asarray(image)[0], values)
    np.testing.assert_allclose(np.asarray(image.affine), affine)
    assert FULL_SCALE not in image.meta


def test_flat_nifti_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((5, 6), dtype=np.float32), np.eye(4)), tmp_path / "v.nii")
    assert load(tmp_path / "v.nii").shape == (1, 5, 6, 1)


def test_ct_is_in_hounsfield_units() -> None:
    header = pydicom.dcmread(shipped("CT_small.dcm"))
    expected = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
    assert expected.min() < -500  # air
    np.testing.assert_allclose(rows_first(load(shipped("CT_small.dcm"))), expected)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
def test_transfer_syntaxes_agree(name: str) -> None:
    np.testing.assert_array_equal(np.asarray(load(shipped(name))), np.asarray(load(shipped("MR_small.dcm"))))


def test_dicom_spacing_is_in_millimetres() -> None:
    image, spacing = load(shipped("CT_small.dcm")), pydicom.dcmread(shipped("CT_small.dcm")).PixelSpacing
    np.testing.assert_allclose(np.linalg.norm(np.asarray(image.affine)[:3, :2], axis=0), spacing[::-1], rtol=1e-6)


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "SC_rgb_small_odd.dcm", "ExplVR_BigEnd.dcm"])
def test_colour_dicom_has_three_channels(name: str) -> None:
    image = load(shipped(name))
    expected = pydicom.dcmread(shipped(name)).pixel_array / 255
    assert image.shape == (3, expected.shape[1], expected.shape[0])
    np.testing.assert_allclose(rows_first(image), expected, atol=1e-6)
    assert image.meta[FULL_SCALE] == 1


def test_colour_dicom_looks_like_the_same_png(tmp_path: Path, save_dicom: Callable[..., Path]) -> None:
    Image.fromarray(coloured()).save(tmp_path / "c.png")
    picture, dicom = load(tmp_path / "c.png"), load(save_dicom(tmp_path / "c.dcm", coloured()))
    np.testing.assert_allclose(np.asarray(picture) / 255, np.asarray(dicom)[..., 0], atol=1e-6)


def test_palette_dicom_becomes_colours() -> None:
    image = load(shipped("examples_palette.dcm"))
    assert image.shape == (3, 800, 350)
    channels = np.asarray(image)
    assert np.abs(channels[0] - channels[2]).max() > 0.1 and channels.min() >= 0 and channels.max() <= 1


def test_monochrome1_is_dark_where_it_is_high(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    positive = load(save_dicom(tmp_path / "2.dcm", letter))
    negative = load(save_dicom(tmp_path / "1.dcm", letter, PhotometricInterpretation="MONOCHROME1"))
    assert np.corrcoef(np.asarray(positive).ravel(), np.asarray(negative).ravel())[0, 1] == pytest.approx(-1)


def test_series_is_one_volume(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    for number in range(1, 5):
        name = f"{7 - number}.dcm"  # the order of the names is not that of the slices
        save_dicom(tmp_path / name, letter // number, number=number, position=3.0 * number)
    image = load(tmp_path)
    assert image.shape == (1, 12, 20, 4)
    for number in range(1, 5):
        np.testing.assert_array_equal(rows_first(image[..., number - 1]), letter // number)
    assert np.linalg.norm(np.asarray(image.affine)[:3, 2]) == pytest.approx(3)


def text_as(path: Path) -> Path:
    path.write_text("no image at all")
    return path


@pytest.mark.parametrize("name", ["f.png", "f.jpg", "f.nii.gz", "f.nii", "f.dcm"])
@pytest.mark.parametrize("exists", [True, False])
def test_missing_files_and_texts_under_an_images_name_are_named(tmp_path: Path, name: str, exists: bool) -> None:
    path = text_as(tmp_path / name) if exists else tmp_path / name
    with pytest.raises(ValueError, match=re.escape(f"{path}: " + ("expected a" if exists else "no such file"))):
        load(path)


@pytest.mark.parametrize("name", ["noise.jpg", "noise.png"])
def test_a_truncated_picture_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load(path)


def test_dicom_is_known_by_content(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    assert is_dicom(save_dicom(tmp_path / "IM000001", letter))
    assert not is_dicom(text_as(tmp_path / "README"))
    assert load(tmp_path / "IM000001").shape == (1, 12, 20, 1)
