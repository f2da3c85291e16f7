"""Voxels that are no numbers and pictures that stay dark: refused or noted, and loaded by the rule that is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from monai.transforms import Compose, LoadImage
from PIL import Image

from fedmed_transforms import LoadMedicalImaged, NiftiReader, ScaleToUnit, SeriesRules, load_image, load_label
from fedmed_workflows import FullScaleCheck

VALUES = np.linspace(1, 2, 24).reshape(2, 3, 4)
DEEP = np.array([[0, 4095, 17], [300, 2048, 1]], dtype=np.uint16)


def write_nifti(path: Path, values: Any) -> None:
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def write_itk(path: Path, values: Any) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))


def write_tiff(path: Path, values: Any) -> None:
    tifffile.imwrite(path, values[0], metadata=None)


FORMATS: dict[str, Callable[[Path, Any], None]] = {
    "v.nii": write_nifti, "v.nii.gz": write_nifti, "v.nrrd": write_itk, "v.mha": write_itk, "v.tif": write_tiff,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_refused_and_the_advice_loads_them(
    tmp_path: Path, name: str, kind: str, bad: float
) -> None:
    values = VALUES.astype(kind)
    values[0, 1, 2] = bad
    FORMATS[name](tmp_path / name, values)
    with pytest.raises(ValueError, match=f"{name}: .*no finite numbers.*the rule `nan` gives .*, as nan=0"):
        load_image(tmp_path / name)
    for number in (0, -1024.5):
        expected = np.where(np.isfinite(values), values, number).astype(np.float32)
        found = np.asarray(load_image(tmp_path / name, nan=number))
        kept = expected[0] if name == "v.tif" else expected
        np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(kept, axis=None))
    loaded = LoadMedicalImaged("image", rules={"nan": 0})({"image": str(tmp_path / name)})["image"]
    assert bool(loaded.isfinite().all())


@pytest.mark.parametrize("name", FORMATS)
def test_no_rule_puts_a_number_into_a_label(tmp_path: Path, name: str) -> None:
    values = np.zeros((2, 3, 4), dtype=np.float32)
    values[0, 0, 0] = np.nan
    FORMATS[name](tmp_path / name, values)
    with pytest.raises(ValueError, match=f"{name}: .*no finite numbers"):
        load_label(tmp_path / name, nan=0)
    with pytest.raises((ValueError, RuntimeError)) as error:
        Compose([LoadMedicalImaged("label", rules={"nan": 0})])({"label": str(tmp_path / name)})
    assert "no finite numbers" in str(error.value.__cause__ or error.value)


def test_large_finite_values_are_not_taken_for_others(tmp_path: Path) -> None:
    """Their sum exceeds float32."""
    write_nifti(tmp_path / "v.nii", np.full((40, 40, 4), 3e38, dtype=np.float32))
    assert float(load_image(tmp_path / "v.nii").min()) == np.float32(3e38)


def test_the_reader_for_monai_has_the_rule(tmp_path: Path) -> None:
    write_nifti(tmp_path / "v.nii", np.full((2, 3, 4), np.nan, dtype=np.float32))
    assert float(LoadImage(NiftiReader(nan=7), image_only=True)(tmp_path / "v.nii").unique()) == 7


@pytest.mark.parametrize(
    "rules",
    [{"nan": "0"}, {"nan": float("nan")}, {"nan": True}, {"full_scale": 0}, {"full_scale": -1}, {"full_scale": "4095"}],
)
def test_rules_of_other_values_are_refused(rules: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(rules))}: expected a number.*, found"):
        SeriesRules(**rules)


def test_twelve_bits_in_sixteen_by_the_rule(tmp_path: Path) -> None:
    Image.fromarray(DEEP).save(tmp_path / "f.png")
    assert float(ScaleToUnit()(load_image(tmp_path / "f.png")).max()) == pytest.approx(0.0625, abs=1e-3)
    image = load_image(tmp_path / "f.png", full_scale=4095)
    assert image.meta["full_scale"] == 4095 and float(ScaleToUnit()(image).max()) == 1
    with pytest.raises(ValueError, match="f.png: .*the value 4095, expected at most 1023, the rule `full_scale`"):
        load_image(tmp_path / "f.png", full_scale=1023)
    assert load_label(tmp_path / "f.png", full_scale=1023).max() == 4095
    Image.fromarray(np.full((2, 3), 255, dtype=np.uint8)).save(tmp_path / "g.png")
    assert load_image(tmp_path / "g.png", full_scale=4095).meta["full_scale"] == 255


@pytest.mark.parametrize(
    ("largest", "bound"), [(4095, 4095), (2048, 4095), (1, 1), (16383, 16383), (32767, 32767), (32768, None), (0, None)]
)
def test_a_site_of_dark_pictures_is_noted_and_the_advice_ends_it(
    tmp_path: Path, largest: int, bound: int | None
) -> None:
    for number, value in enumerate((0, largest)):
        Image.fromarray(np.full((2, 3), value, dtype=np.uint16)).save(tmp_path / f"{number}.png")
    Image.fromarray(np.ones((2, 3), dtype=np.uint8)).save(tmp_path / "8.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    images = [(str(file), "cat") for file in sorted(tmp_path.iterdir())]
    listed = {"a": {"training": images}, "b": {"training": images[:1]}}
    sites = SimpleNamespace(paths={"a": tmp_path, "b": tmp_path}, labelled_images=lambda site: listed[site])
    notes = FullScaleCheck(sites)(None, tmp_path).notes
    if bound is None:
        assert notes == []
        return
    share = f"{bound / 65535:.0%}"
    assert len(notes) == 1
    assert f"site 'a' hold values of at most {bound.bit_length()} bits (up to {bound}), {share}" in notes[0]
    assert f"the rule full_scale={bound} in series_rules" in notes[0]
    assert FullScaleCheck(sites, {"full_scale": bound})(None, tmp_path).notes == []
