"""Every file that pydicom ships loads right, voxel by voxel and in its place, or is refused for a reason.

The reference is pydicom's own decoding and modality LUT, and an affine computed here from the plane's elements.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pydicom.data
import pytest
from monai.data import MetaTensor
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut

from fedmed_transforms import load_image

ROOT = Path(pydicom.data.__file__).parent / "test_files"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())

LOADS = (
    *("693_J2KI.dcm", "CT_small.dcm", "ExplVR_BigEnd.dcm", "GDCMJ2K_TextGBR.dcm", "J2K_pixelrep_mismatch.dcm"),
    *("JPEG2000.dcm", "JPEGLSNearLossless_*.dcm", "MR_small.dcm", "MR_small_[!p]*.dcm"),
    "image_dfl.dcm",
    *("SC_jpeg_no_color_transform*.dcm", "SC_rgb_dcmtk_*.dcm", "SC_rgb_gdcm_KY.dcm", "SC_rgb_jls_lossy_*.dcm"),
    *("SC_rgb_jpeg*.dcm", "SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm", "SC_rgb_small_odd*.dcm"),
    *("SC_ybr_full_422_uncompressed.dcm", "examples_jpeg2k.dcm", "examples_palette.dcm", "examples_rgb_color.dcm"),
    # the overlay lies in an element of its own, no bit of it is in the pixels
    *("examples_overlay.dcm", "rtdose.dcm", "rtdose_expb.dcm", "rtdose_rle.dcm"),
    *("dicomdirtests/*/CR[123]/*", "dicomdirtests/*/CT*/*", "dicomdirtests/*/MR*/*"),
)
"""Files that equal the reference exactly."""

LOSSY = ("JPGExtended.dcm", "JPEG-lossy.dcm")
"""Twelve-bit JPEG, which another decoder decodes: at most one grey level differs."""

SAME_PIXELS = {"JPEG-lossy.dcm": "JPGExtended.dcm"}
"""pydicom's decoder refuses the first for a wrong parameter of its scan; the second is the first with it mended."""

WITH_SPACING = ("SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_32bit_2frame.dcm", "examples_ybr*")
"""Colours of several frames without a place, which load once a spacing is assumed; nothing advises to do so."""

NO_IMAGE = "found no DICOM image"
NO_DICOM = "found neither a suffix nor content of these"
NO_CLASS = "found neither a SOP class nor an image in it"
SEVERAL = "expected one; choose with the rule `series`; found 13 series"
REFUSED = {
    "ExplVR_*NoMeta.dcm": NO_IMAGE,
    "JPEG2000-embedded-sequence-delimiter.dcm": "the codestream is of 1024x3722445056x1, its header of 1024x256x1",
    "MR_small_padded.dcm": "expected 8192 bytes of pixels, found 8320",
    "MR_truncated.dcm": "expected 8192 bytes of pixels, found 8130",
    "*README*": NO_DICOM,
    "UN_sequence.dcm": NO_CLASS,
    "badVR.dcm": "found a NumberOfFrames that is no number",
    "crayons.icc": NO_DICOM,
    "dicomdirtests/DICOMDIR": SEVERAL,
    "dicomdirtests/DICOMDIR-[binr]*": SEVERAL,
    "dicomdirtests/DICOMDIR-empty.dcm": NO_IMAGE,
    "dicomdirtests/TINY_ALPHA/DICOMDIR": NO_IMAGE,
    "dicomdirtests/TINY_ALPHA/PT000000/*/IM0000[01]?": NO_IMAGE,
    "empty_charset_LEI.dcm": NO_CLASS,
    "liver_*1frame.dcm": "1 frames, but functional groups for 3",
    "meta_missing_tsyntax.dcm": NO_CLASS,
    "nested_priv_SQ.dcm": NO_CLASS,
    "no_meta*.dcm": NO_CLASS,
    "priv_SQ.dcm": NO_CLASS,
    "reportsi*.dcm": NO_IMAGE,
    "rtdose_*1frame.dcm": "GridFrameOffsetVector with 15 values, expected 1",
    "rtplan*.dcm": NO_IMAGE,
    "rtstruct.dcm": NO_IMAGE,
    "test-SR.dcm": NO_IMAGE,
    "waveform_ecg.dcm": NO_IMAGE,
    "*.dump": NO_DICOM,
    "*.json": NO_DICOM,
    "zipMR.gz": NO_DICOM,
}  # fmt: skip
"""Why files are refused: they hold no image, no volume, or not all of it."""


def matching(patterns: tuple[str, ...] | dict[str, str]) -> list[str]:
    return [name for name in FILES if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def test_the_table_names_every_file_once() -> None:
    named = [name for table in (LOADS, LOSSY, WITH_SPACING, REFUSED) for name in matching(table)]
    assert sorted(named) == FILES


@pytest.mark.parametrize("pattern", [*LOADS, *LOSSY, *WITH_SPACING, *REFUSED])
def test_the_table_names_nothing_else(pattern: str) -> None:
    assert fnmatch.filter(FILES, pattern)


def reference(name: str) -> npt.NDArray[np.float64]:
    """(frames, rows, columns, samples): pydicom's pixels, given the modality's meaning or divided by full scale."""
    header = pydicom.dcmread(ROOT / SAME_PIXELS.get(name, name))
    words = header.pixel_array
    if header.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(words, header)
        return (colours / np.iinfo(colours.dtype).max)[None]
    if header.SamplesPerPixel == 3:
        return (words / (2.0**header.BitsStored - 1)).reshape(-1, *words.shape[-3:])
    values = apply_modality_lut(words, header).astype(np.float64) * float(header.get("DoseGridScaling", 1))
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = -values
    if "PixelPaddingValue" in header and (words != header.PixelPaddingValue).any():
        padded = words == header.PixelPaddingValue
        values[padded] = values[~padded].min()
    return values.reshape(-1, *values.shape[-2:], 1)


def place(header: Dataset, frames: int) -> npt.NDArray[np.float64] | None:
    """Voxel to mm, RAS, by PS3.3, C.7.6.2.1.1 and, for doses, C.8.8.3.2; None where the file has no place."""
    if "ImagePositionPatient" not in header:
        return None
    along_row, along_column = np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    between_rows, between_columns = (float(value) for value in header.PixelSpacing)
    step = float(header.GridFrameOffsetVector[1]) if frames > 1 else 0.0
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * between_columns, along_column * between_rows
    affine[:3, 2] = np.cross(along_row, along_column) * step
    affine[:3, 3] = header.ImagePositionPatient
    return np.array([[-1], [-1], [1], [1]]) * affine


def check(image: MetaTensor, name: str, difference: float) -> None:
    expected = reference(name).transpose(3, 2, 1, 0).astype(np.float32)
    found: Any = np.asarray(image)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=difference)
    header, frames = pydicom.dcmread(ROOT / name), expected.shape[3]
    affine = place(header, frames)
    if affine is not None:
        axes = [0, 1, 3] if frames == 1 else [0, 1, 2, 3]  # a single image has no third axis to check
        np.testing.assert_allclose(np.asarray(image.affine)[:, axes], affine[:, axes], atol=1e-4)


@pytest.mark.parametrize("name", matching(LOADS))
def test_loads_exactly(name: str) -> None:
    check(load_image(ROOT / name), name, 0)


@pytest.mark.parametrize("name", LOSSY)
def test_loads_within_a_grey_level(name: str) -> None:
    check(load_image(ROOT / name), name, 1)


@pytest.mark.parametrize("name", matching(WITH_SPACING))
def test_frames_without_a_place_load_once_a_spacing_is_assumed(name: str) -> None:
    with pytest.raises(ValueError, match=r"found no position and no orientation .*volume='first'") as error:
        load_image(ROOT / name)
    assert "assume_spacing" not in str(error.value)  # nothing states that they are slices
    check(load_image(ROOT / name, assume_spacing=(1, 1, 1)), name, 0)


@pytest.mark.parametrize("name", matching(REFUSED))
def test_is_refused(name: str) -> None:
    reason = next(reason for pattern, reason in REFUSED.items() if fnmatch.fnmatchcase(name, pattern))
    with pytest.raises(ValueError, match=f"^{re.escape(str(ROOT / name))}: .*{re.escape(reason)}"):
        load_image(ROOT / name)


def test_padding_can_be_kept() -> None:
    """693_J2KI pads with a value below all that its fourteen bits hold."""
    header = pydicom.dcmread(ROOT / "693_J2KI.dcm")
    kept = load_image(ROOT / "693_J2KI.dcm", padding="keep")
    np.testing.assert_array_equal(np.asarray(kept)[0, ..., 0].T, apply_modality_lut(header.pixel_array, header))
    assert (header.pixel_array == header.PixelPaddingValue).any()
