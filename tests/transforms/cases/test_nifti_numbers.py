"""Numbers of NIfTI headers: units, offsets, scalings and affines are right, or refused by their name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fedmed_transforms import load_image

CASES = Path(os.environ.get("FEDMED_DATA", "no folder")) / "cases"
SFORM = np.array([[-2.0, 0, 0, 10], [0, 2.5, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
VALUES = np.arange(2, 122, dtype=np.int16).reshape(6, 5, 4)
NAN = float("nan")
UNITS = [(0, 1), (1, 1000), (2, 1), (3, 0.001), (8, 1), (9, 1000), (10, 1), (11, 0.001)]

given = pytest.mark.skipif(not CASES.is_dir(), reason="FEDMED_DATA names no folder with cases")


def write(path: Path, pair: bool = False, **fields: Any) -> Path:
    """A file whose sform and qform both are SFORM, with fields of its header set afterwards."""
    image = (nib.Nifti1Pair if pair else nib.Nifti1Image)(VALUES, SFORM)
    image.set_qform(SFORM, code=1)
    image.set_sform(SFORM, code=2)
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)
    return path


@given
@pytest.mark.parametrize(
    ("name", "affine"),
    [
        ("nifti_micron/micron.nii", np.diag([0.5, 0.5, 1, 1])),
        ("nifti_scl_inter_nan/scl_1.0_nan.nii", SFORM),
        ("nifti_sform_empty/sformnan.nii", SFORM),
        ("nifti_sform_empty/sformzero.nii", SFORM),
        ("nifti_vox_offset_zero/right.nii", SFORM),
    ],
)
def test_public_cases(name: str, affine: Any) -> None:
    image = load_image(CASES / name)
    assert (image.min(), image.max(), image.shape) == (2, 997, (1, 6, 5, 4))
    np.testing.assert_allclose(np.asarray(image.affine), affine, rtol=1e-6)


@given
@pytest.mark.parametrize("name", ["data_at_348.nii", "data_at_352.nii"])
def test_public_cases_of_voxels_inside_the_header_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*vox_offset 0, expected 352 or more"):
        load_image(CASES / "nifti_vox_offset_zero" / name)


@pytest.mark.parametrize(("units", "mm"), UNITS)
@pytest.mark.parametrize("codes", [(2, 0), (0, 1), (0, 0)])
def test_only_the_spatial_unit_scales_the_affine(tmp_path: Path, units: int, mm: float, codes: Any) -> None:
    """A unit of time stands in other bits of the same field."""
    path = write(tmp_path / "v.nii", xyzt_units=units, sform_code=codes[0], qform_code=codes[1])
    expected = np.diag([mm, mm, mm, 1]) @ nib.load(path).affine
    np.testing.assert_allclose(np.asarray(load_image(path).affine), expected)


@pytest.mark.parametrize(
    ("fields", "affine"),
    [
        ({"srow_x": 0, "srow_y": 0, "srow_z": 0}, SFORM),
        ({"srow_x": NAN, "srow_y": NAN, "srow_z": NAN}, SFORM),
        ({"srow_x": NAN, "qform_code": 0}, SFORM),
        ({"srow_x": float("inf")}, SFORM),
        ({"srow_z": 0}, SFORM),
        ({"sform_code": 0, "pixdim": [0, 2, 2.5, 3, 1, 1, 1, 1]}, None),
        ({"pixdim": [-1, 0, NAN, -3, 1, 1, 1, 1]}, SFORM),
    ],
)
def test_an_affine_that_is_stated_elsewhere_is_used(tmp_path: Path, fields: Any, affine: Any) -> None:
    path = write(tmp_path / "v.nii", **fields)
    if affine is None:  # a qfac of 0 counts as 1 (nifti1.h)
        fields["pixdim"][0] = 1
        affine = nib.load(write(tmp_path / "w.nii", **fields)).affine
    image = load_image(path)
    np.testing.assert_allclose(np.asarray(image.affine), affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(image)[0], VALUES)


@pytest.mark.parametrize(
    ("slope", "inter", "expected"),
    [
        (1, NAN, VALUES), (2, NAN, 2.0 * VALUES), (1, float("inf"), VALUES), (0, 7, VALUES), (NAN, 3, VALUES),
        (float("inf"), 3, VALUES), (2, -5, 2.0 * VALUES - 5),
    ],
)  # fmt: skip
def test_a_scaling_that_is_no_number_scales_nothing(tmp_path: Path, slope: float, inter: float, expected: Any) -> None:
    path = write(tmp_path / "v.nii", scl_slope=slope, scl_inter=inter)
    np.testing.assert_array_equal(np.asarray(load_image(path))[0], expected)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"vox_offset": 0}, "vox_offset 0, expected 352 or more: the voxels cannot begin inside the header"),
        ({"vox_offset": 347}, "vox_offset 347, expected 352 or more"),
        ({"vox_offset": -352}, "vox_offset -352, expected 352 or more"),
        ({"vox_offset": NAN}, "vox_offset nan, expected 352 or more"),
        ({"vox_offset": 352.5}, "vox_offset 352.5, expected 352 or more"),
        ({"vox_offset": float("inf")}, "vox_offset inf, expected 352 or more"),
        ({"vox_offset": 4000}, "592 bytes, expected 4240"),
        ({"dim": [0, 6, 5, 4, 1, 1, 1, 1]}, r"dim\[0\] 0, expected 1 to 7 axes"),
        ({"dim": [3, 6, -5, 4, 1, 1, 1, 1]}, r"shape \(6, -5, 4, 1\), expected at least one voxel"),
        ({"sform_code": 0, "pixdim": [1, 2, 0, 3, 1, 1, 1, 1]}, r"pixdim \[2.0, 0.0, 3.0\], expected numbers above 0"),
        ({"sform_code": 0, "pixdim": [1, 2, -2, 3, 1, 1, 1, 1]}, r"pixdim \[2.0, -2.0, 3.0\], expected"),
        ({"sform_code": 0, "pixdim": [1, 2, NAN, 3, 1, 1, 1, 1]}, r"pixdim \[2.0, nan, 3.0\], expected"),
        ({"sform_code": 0, "pixdim": [3, 2, 2, 3, 1, 1, 1, 1]}, r"pixdim\[0\] 3, expected 1 or -1"),
        ({"sform_code": 0, "pixdim": [NAN, 2, 2, 3, 1, 1, 1, 1]}, r"pixdim\[0\] nan, expected 1 or -1"),
        ({"sform_code": 0, "quatern_b": NAN}, "an affine that cannot be inverted|HeaderDataError"),
        ({"sform_code": -1}, "sform_code -1 and qform_code 1, expected 0 or more"),
        ({"xyzt_units": 5}, "the spatial unit 5 in xyzt_units, expected 0 to 3"),
        (
            {"srow_x": 0, "qform_code": 0, **{f"quatern_{axis}": 0 for axis in "bcd"},
             **{f"qoffset_{axis}": 0 for axis in "xyz"}},
            "an affine that cannot be inverted",
        ),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_meant_are_refused(tmp_path: Path, fields: Any, reason: str) -> None:
    path = write(tmp_path / "v.nii", **fields)
    found = f"^{re.escape(str(path))}: expected a readable NIfTI, found (ValueError: )?({reason})"
    with pytest.raises(ValueError, match=found):
        load_image(path)


def test_more_than_seven_axes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii")
    content = bytearray(path.read_bytes())
    content[40:42] = (9).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: expected a readable NIfTI"):
        load_image(path)


@pytest.mark.parametrize("units", [1, 3])
def test_very_small_and_very_large_voxels_have_an_affine(tmp_path: Path, units: int) -> None:
    affine = np.diag([1e-5, 1e-5, 2e-5, 1])
    image = nib.Nifti1Image(VALUES, affine)
    image.header["xyzt_units"] = units
    nib.save(image, tmp_path / "v.nii")
    expected = np.diag([*np.diag(affine)[:3] * {1: 1000, 3: 0.001}[units], 1])
    np.testing.assert_allclose(np.asarray(load_image(tmp_path / "v.nii").affine), expected, rtol=1e-6)


def test_a_pair_begins_at_0_and_not_below(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VALUES, SFORM), tmp_path / "v.img")
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "v.hdr"))[0], VALUES)
    content = bytearray((tmp_path / "v.hdr").read_bytes())
    content[108:112] = np.float32(-4).tobytes()
    (tmp_path / "v.hdr").write_bytes(content)
    with pytest.raises(ValueError, match="vox_offset -4, expected 0 or more"):
        load_image(tmp_path / "v.hdr")
