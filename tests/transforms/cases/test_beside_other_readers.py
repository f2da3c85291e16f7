"""The public cases that SimpleITK or dcm2niix load too, beside what they give, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fedmed_transforms import load_image
from tests.transforms.cases.written_dicom import case

GREY = ("photometric_missing/nopi.dcm", "high_bit_11_of_16/hb11.dcm", "cosines_two_decimals/iop2.dcm")
COLOURS = tuple(f"colour_without_planar_configuration/{name}.dcm" for name in ("noplanar", "us_noplanar_jpeg"))
FULL_422 = "ybr422_full_length/us_ybr422_native_full.dcm"
"""SimpleITK takes it as subsampled; dcm2niix gives its luminance and chrominance as they are stored."""

RGB_OF_YBR = np.array([[1, 0, 1.402], [1, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587], [1, 1.772, 0]])
"""From luminance and chrominance less 128 to red, green and blue (PS3.3, C.7.6.3.1.2)."""


def rows_and_columns(name: str) -> Any:
    """(rows, columns[, 3]); colours of 8 bits."""
    values = np.asarray(load_image(case(name)))
    return np.rint(255 * values.T) if len(values) == 3 else values[0, ..., 0].T


@pytest.mark.parametrize("name", [*GREY, *COLOURS])
def test_simple_itk_gives_the_same(name: str) -> None:
    reader = pytest.importorskip("SimpleITK")
    image = reader.ReadImage(str(case(name)))
    np.testing.assert_array_equal(rows_and_columns(name), reader.GetArrayFromImage(image)[0])
    if name in GREY:
        directions = np.array(image.GetDirection()).reshape(3, 3)[:, :2] * np.array(image.GetSpacing())[:2]
        lps = np.diag([-1, -1, 1]) @ load_image(case(name)).affine.numpy()[:3, :2]
        np.testing.assert_allclose(lps, directions, atol=1e-6)


@pytest.mark.parametrize("name", [*GREY, COLOURS[1], FULL_422])
def test_dcm2niix_gives_the_same(tmp_path: Path, name: str) -> None:
    program = shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix is not installed")
    (tmp_path / "in").mkdir()
    shutil.copyfile(case(name), tmp_path / "in" / "f.dcm")
    subprocess.run([program, "-z", "n", "-o", str(tmp_path), str(tmp_path / "in")], check=True, capture_output=True)
    (written,) = tmp_path.glob("*.nii")
    found = nib.load(written)
    values = np.asarray(found.dataobj)
    if values.dtype.names:
        values = np.stack([values[colour] for colour in values.dtype.names], axis=-1).astype(float)
    if name == FULL_422:
        values = np.rint((values - [0, 128, 128]) @ RGB_OF_YBR.T).clip(0, 255)
    np.testing.assert_array_equal(rows_and_columns(name), np.swapaxes(values[:, ::-1, 0], 0, 1))  # its rows run up
    if name in GREY:
        ours, rows = load_image(case(name)).affine.numpy(), values.shape[1]
        turned = ours @ np.array([[1, 0, 0, 0], [0, -1, 0, rows - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        np.testing.assert_allclose(turned, found.affine, atol=1e-5)
