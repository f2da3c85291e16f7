"""The way to a device: bytes go up and are interpreted there, to the same bits as on the CPU.

Runs that way with the CPU in the place of a device, and with a GPU, pretended where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless

from fedmed_transforms import SeriesRules, load_image
from fedmed_transforms.dicom.pixels.codestream import Codestream, read_codestream
from fedmed_transforms.dicom.pixels.fragments import encoded_frames
from fedmed_transforms.dicom.pixels.gpu_frames import is_trusted
from fedmed_transforms.dicom.pixels.voxels import fill_here, fill_on_device, plan
from fedmed_transforms.dicom.series import read_series
from fedmed_transforms.dicom.slices import read_slices


@pytest.fixture(params=["cpu", "gpu"])
def device(request: pytest.FixtureRequest) -> torch.device:
    found: torch.device = request.getfixturevalue("gpu") if request.param == "gpu" else torch.device("cpu")
    return found


SHIPPED = [
    *("CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"),
    *("MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "JPGExtended.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"),
    *("examples_overlay.dcm", "rtdose.dcm", "rtdose_expb.dcm", "rtdose_rle.dcm", "image_dfl.dcm"),
]
"""Greyscale files of pydicom: native of both byte orders, compressed, of 8, 16 and 32 bits, of several frames."""


def both_ways(path: Path, device: torch.device, **rules: Any) -> tuple[torch.Tensor, torch.Tensor]:
    slices = [item for file in read_series(path) for item in read_slices(file)]
    frames = plan(slices, SeriesRules.of(rules))
    size = (len(frames), frames[0].pixels.rows, frames[0].pixels.columns)
    here, there = torch.full(size, torch.nan), torch.full(size, torch.nan, device=device)
    fill_here(here, frames)
    fill_on_device(there, frames)
    assert there.device == device
    return here, there.cpu()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files(name: str, device: torch.device) -> None:
    path = get_testdata_file(name, download=False)
    here, there = both_ways(Path(str(path)), device)
    assert torch.equal(here, there) and bool(torch.isfinite(here).all())


SERIES: list[dict[str, Any]] = [
    {},
    {"RescaleSlope": 0.1, "RescaleIntercept": -0.3},
    {"PixelRepresentation": 1, "RescaleSlope": 2, "RescaleIntercept": -1024},
    {"BitsStored": 12, "HighBit": 13, "PixelRepresentation": 1},
    {"BitsStored": 12, "HighBit": 11},
    {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 7},
    {"PixelPaddingValue": 100, "PixelPaddingRangeLimit": 20000},
]


@pytest.mark.parametrize("elements", SERIES)
def test_written_series(
    tmp_path: Path, save_dicom: Callable[..., Path], elements: dict[str, Any], device: torch.device
) -> None:
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        pixels = rng.integers(0, 2**16, (9, 7), dtype=np.uint16)
        pixels[0, :3] = 7
        each = dict(elements, RescaleIntercept=number) if number == 3 else elements  # slices may differ in scale
        save_dicom(tmp_path / f"{number}.dcm", pixels, number=number, position=float(number), **each)
    here, there = both_ways(tmp_path, device)
    assert torch.equal(here, there) and here.unique().numel() > 100
    if "PixelPaddingValue" in elements:
        kept, _ = both_ways(tmp_path, device, padding="keep")
        assert float(here.min()) >= float(kept.min()) and not torch.equal(kept, here)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", ">f4", "<f8", "u1", "i1", "<i4", ">u4"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path: Path, dtype: str, suffix: str, device: torch.device) -> None:
    values = np.random.default_rng(0).integers(0, 100, (5, 4, 3, 2)).astype(dtype)
    image = nib.Nifti1Image(
        values, np.diag([2, 2, 3, 1]), nib.Nifti1Header(endianness=dtype[0] if dtype[0] in "<>" else "<")
    )
    image.header.set_data_dtype(dtype)
    image.header.set_slope_inter(0.37, -4.2)
    nib.save(image, tmp_path / f"v{suffix}")
    found = load_image(tmp_path / f"v{suffix}", device=device)
    expected = np.asarray(nib.load(tmp_path / f"v{suffix}").dataobj, dtype=np.float64).astype(np.float32)
    assert found.device == device
    np.testing.assert_array_equal(found.cpu().numpy(), expected.transpose(3, 0, 1, 2))


@pytest.mark.parametrize(
    ("syntax", "declared", "trusted"),
    [
        (JPEGLosslessSV1, Codestream(8, 8, 1, 16, True), True),
        (JPEGLossless, Codestream(8, 8, 1, 12, True), False),  # decoded to zeros without an error
        (JPEG2000Lossless, Codestream(8, 8, 1, 12), True),
        (JPEG2000Lossless, Codestream(8, 8, 3, 8), False),
        (JPEGLSLossless, Codestream(8, 8, 1, 12), False),
    ],
)
def test_what_the_gpu_decoder_is_trusted_with(syntax: Any, declared: Codestream, trusted: bool) -> None:
    assert is_trusted(syntax, declared) is trusted


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("MR_small_jp2klossless.dcm", Codestream(64, 64, 1, 16)),
        ("MR_small_jpeg_ls_lossless.dcm", Codestream(64, 64, 1, 16)),
        ("JPGExtended.dcm", Codestream(1024, 256, 1, 12, most_samples=256)),
        ("SC_rgb_jpeg_gdcm.dcm", Codestream(100, 100, 3, 8, lossless=True, most_samples=8)),
        ("SC_rgb_jpeg_dcmtk.dcm", Codestream(100, 100, 3, 8, most_samples=256)),
    ],
)
def test_what_a_codestream_says_of_itself(name: str, declared: Codestream) -> None:
    (file,) = read_series(Path(str(get_testdata_file(name, download=False))))
    assert read_codestream(encoded_frames(file)[0]) == declared
