"""Intensities to [0, 1]: pictures by their format, scans by their own quantiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from fedmed_transforms import LoadMedicalImaged, ScaleToUnit, ScaleToUnitd, ToPicturesd
from fedmed_transforms.preprocessing.intensity import quantiles, quantiles_by_sorting


@pytest.fixture
def scan() -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(0).gamma(2.0, 300.0, (1, 30, 40)), dtype=torch.float32)


def test_scan_is_scaled_between_its_quantiles(scan: torch.Tensor) -> None:
    low, high = np.quantile(scan.numpy(), [0.1, 0.9])
    expected = (scan.numpy().clip(low, high) - low) / (high - low)
    np.testing.assert_allclose(ScaleToUnit(0.1, 0.9)(scan).numpy(), expected, atol=1e-6)


def test_default_saturates_the_brightest_hundredth(scan: torch.Tensor) -> None:
    scaled = ScaleToUnit()(scan)
    assert scaled.min() == 0 and scaled.max() == pytest.approx(1)
    assert float((scaled >= scaled.max()).float().mean()) == pytest.approx(0.01, abs=0.002)


def test_gain_and_offset_of_a_scanner_do_not_matter(scan: torch.Tensor) -> None:
    np.testing.assert_allclose(ScaleToUnit()(3 * scan - 1024).numpy(), ScaleToUnit()(scan).numpy(), atol=1e-5)


def test_a_dark_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 8), 51, dtype=np.uint8)).save(tmp_path / "dark.png")
    assert loaded(tmp_path / "dark.png") == pytest.approx(np.full((1, 1, 6, 8), 0.2))


def test_sixteen_bit_pictures_end_at_their_own_full_scale(tmp_path: Path) -> None:
    values = np.array([[0, 13107], [32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    np.testing.assert_allclose(loaded(tmp_path / "deep.png")[0, 0], values / 65535, atol=1e-6)


def loaded(path: Path) -> Any:
    data = LoadMedicalImaged("image")({"image": str(path)})
    return np.asarray(ScaleToUnitd("image")(ToPicturesd("image")(data))["image"])


def test_constant_scan_becomes_zero() -> None:
    assert not ScaleToUnit()(torch.full((1, 4, 4), 700.0)).any()


def test_integers_are_scaled_as_numbers() -> None:
    scaled = ScaleToUnit(0, 1)(torch.tensor([[0, 100, 200]], dtype=torch.int16))
    np.testing.assert_allclose(scaled.numpy(), [[0, 0.5, 1]])


def test_a_volume_of_more_than_sixteen_million_values() -> None:
    scaled = ScaleToUnit(0, 1)(torch.arange(2**24 + 8).view(1, 8, -1))
    assert float(scaled.min()) == 0 and float(scaled.max()) == 1


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_values_that_are_not_finite_name_the_file(scan: torch.Tensor, wrong: float) -> None:
    scan[0, 3, 3] = wrong
    with pytest.raises(ValueError, match=r"scan\.nii: found values that are not finite"):
        ScaleToUnit()(MetaTensor(scan, meta={"filename_or_obj": "scan.nii"}))


@pytest.mark.parametrize(("lower", "upper"), [(0.9, 0.1), (0.5, 0.5), (-0.1, 1), (0, 1.1)])
def test_quantiles_out_of_order_are_refused(lower: float, upper: float) -> None:
    with pytest.raises(ValueError, match=f"lower={lower}, upper={upper}"):
        ScaleToUnit(lower, upper)


def test_dictionary_form_scales_its_keys_only(scan: torch.Tensor) -> None:
    found = ScaleToUnitd("image")({"image": scan, "other": scan})
    assert float(found["image"].max()) == pytest.approx(1) and found["other"] is scan
    assert ScaleToUnitd(("image", "absent"), allow_missing_keys=True)({"image": scan}).keys() == {"image"}


@pytest.mark.parametrize("size", [1, 2, 3, 101, 1000, 4097])
@pytest.mark.parametrize("dark", [0.0, 0.7])
def test_quantiles_are_those_of_numpy_to_the_bit(size: int, dark: float) -> None:
    """Tests tensors on the CPU and the same values by the sort that accelerators use, with and without ties."""
    random = np.random.default_rng(size)
    values = torch.as_tensor(random.normal(0, 1e3, size) * (random.random(size) >= dark), dtype=torch.float32)
    fractions = [0, 1e-9, 0.01, 1 / 3, 0.5, 0.61, 0.99, 0.995, 1]
    expected = np.quantile(values.numpy(), fractions).tolist()
    assert quantiles(values, fractions) == expected
    assert quantiles_by_sorting(values.view(1, -1, 1), fractions) == expected


def test_quantiles_of_more_than_sixteen_million_values() -> None:
    values = torch.rand(2**24 + 7, generator=torch.Generator().manual_seed(0))
    expected = np.quantile(values.numpy(), [0.25, 0.99]).tolist()
    assert quantiles_by_sorting(values, [0.25, 0.99]) == expected
