"""Whole numbers above 2^24, which float32 rounds, are refused as labels, and in DICOM of 32 bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from fedmed_transforms import LabelsToChannels, load_image

CASES = Path(os.environ.get("FEDMED_DATA", "")) / "cases"
public = pytest.mark.skipif(not os.environ.get("FEDMED_DATA"), reason="FEDMED_DATA names no folder of images")

IDS = (312782616, 312782620)
"""Identifiers of the Allen brain atlas, which are one number in float32."""

CHANNELS = LabelsToChannels([[number] for number in IDS], ignored=[2**24 + 1])


@public
def test_the_public_atlas() -> None:
    label = load_image(CASES / "label_ids_above_2_24" / "allen.nii.gz")
    with pytest.raises(ValueError, match=r"allen\.nii\.gz: found values from about 0 to about 312782624, stored as "):
        CHANNELS(label)


def nifti(path: Path, dtype: Any, *numbers: float, slope: float | None = None) -> Path:
    values = np.zeros((4, 3, 2), dtype=dtype)
    values.flat[: len(numbers)] = numbers
    image = nib.Nifti1Image(values, np.eye(4), dtype=dtype)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64, np.float64])
def test_numbers_that_are_rounded_are_no_labels(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"label\.nii: found values .* to about 312782624, stored as"):
        CHANNELS(load_image(nifti(tmp_path / "label.nii", dtype, *IDS)))
    loaded = load_image(nifti(tmp_path / "label.nii", dtype, 2**24 + 1))
    assert float(loaded.max()) == 2**24
    with pytest.raises(ValueError, match=r"expected label values below 16777216 .*; number the labels"):
        CHANNELS(loaded)
    assert float(LabelsToChannels(["nonzero"])(loaded).sum()) == 1  # where the number does not matter


@pytest.mark.parametrize("number", [-(2**24) - 1, 2**53 + 1, 2**62 + 1])
def test_numbers_below_zero_and_beyond_float64(tmp_path: Path, number: int) -> None:
    with pytest.raises(ValueError, match="label.nii: found values from about"):
        CHANNELS(load_image(nifti(tmp_path / "label.nii", np.int64, number)))


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        (np.int32, (2**24, -(2**24), 2**24 + 2, 2**30 + 1)),
        (np.float64, (2**24 + 0.5, 3e8 + 0.25, 1.5)),  # a measurement
        (np.float64, (1e300 / 1e280, 3.0e33, -3.0e33)),
        (np.float32, (312782616, 1.5)),
        (np.uint16, (65535,)),
    ],
)
def test_images_of_large_numbers_load_as_float32(tmp_path: Path, dtype: Any, numbers: tuple[float, ...]) -> None:
    loaded = load_image(nifti(tmp_path / "image.nii", dtype, *numbers))
    expected = np.zeros(24)
    expected[: len(numbers)] = numbers
    np.testing.assert_array_equal(loaded.as_tensor().numpy().ravel(), expected.astype(np.float32))


def test_labels_below_two_to_the_24_and_stored_as_float32_stay(tmp_path: Path) -> None:
    label = load_image(nifti(tmp_path / "label.nii", np.int64, 2**24 - 1, 5))
    found = LabelsToChannels([[2**24 - 1], [5]])(label)
    assert found.sum(dim=(1, 2, 3)).tolist() == [1, 1]
    label = load_image(nifti(tmp_path / "label.nii", np.float32, 312782624, 312782656))
    assert LabelsToChannels([[312782624], [312782656]])(label).sum(dim=(1, 2, 3)).tolist() == [1, 1]


def test_scaled_integers_are_measurements(tmp_path: Path) -> None:
    loaded = load_image(nifti(tmp_path / "image.nii", np.int32, *IDS, slope=0.001))
    assert float(loaded.max()) == np.float32(312782.620)


def wide(save_dicom: Callable[..., Path], path: Path, pixels: np.ndarray, **elements: Any) -> Path:
    """An image of 4 rows of these pixels, in words of 32 bits."""
    bits = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelData": np.tile(pixels, (4, 1)).tobytes()}
    return save_dicom(path, np.zeros((4, len(pixels)), dtype=np.uint16), **bits, **elements)


@pytest.mark.parametrize(
    ("elements", "pixels", "said"),
    [
        ({}, np.array(IDS, dtype=np.uint32), "312782616 to 312782620"),
        ({"PixelRepresentation": 1}, np.array([-IDS[0], 5], dtype=np.int32), "-312782616 to 5"),
        ({"RescaleSlope": 1, "RescaleIntercept": -1024}, np.array([2**24, 2**25 + 3], dtype=np.uint32), "to 33553411"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, np.array(IDS, dtype=np.uint32), "312782616 to 312782620"),
    ],
)
def test_dicom_of_32_bits(
    tmp_path: Path, save_dicom: Callable[..., Path], elements: dict[str, Any], pixels: np.ndarray, said: str
) -> None:
    with pytest.raises(ValueError, match=rf"32\.dcm: found whole numbers from.* {said}"):
        load_image(wide(save_dicom, tmp_path / "32.dcm", pixels, **elements))


def test_dicom_of_32_bits_that_loads(tmp_path: Path, save_dicom: Callable[..., Path]) -> None:
    pixels = np.array([7, 2**32 - 1], dtype=np.uint32)
    padded = wide(save_dicom, tmp_path / "padded.dcm", pixels)
    with pytest.raises(ValueError, match="padded.dcm: found whole numbers from 7 to 4294967295"):
        load_image(padded)
    dicom = pydicom.dcmread(padded)
    dicom.add_new("PixelPaddingValue", "UL", 2**32 - 1)
    dicom.save_as(padded)
    assert set(load_image(padded).unique().tolist()) == {7}
    scaled = wide(save_dicom, tmp_path / "scaled.dcm", pixels, RescaleSlope="0.5", RescaleIntercept=0)
    assert float(load_image(scaled).max()) == 2**31


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64, torch.uint32])
def test_channels_compare_whole_numbers_exactly(dtype: torch.dtype) -> None:
    label = torch.tensor([[IDS, (0, 312782624)]], dtype=dtype)
    found = LabelsToChannels([[number] for number in IDS], ignored=[312782624])(label)
    assert found.tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 0]]]


def test_a_value_that_float32_rounds_matches_no_other_label() -> None:
    """312782624 is exact in float32, and 312782616 would be rounded to it."""
    label = torch.tensor([[[0.0, 312782624.0]]])
    with pytest.raises(ValueError, match=r"found the label values 312782624, expected \[0, 312782616\]"):
        LabelsToChannels([[312782616]])(label)
    assert LabelsToChannels([[312782624]])(label).tolist() == [[[0, 1]]]
    small = LabelsToChannels([[300], [44]])(torch.tensor([[[44, 0]]], dtype=torch.uint8))
    assert small.tolist() == [[[0, 0]], [[1, 0]]]
