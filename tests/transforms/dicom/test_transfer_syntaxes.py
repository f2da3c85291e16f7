"""One image in every transfer syntax that can be written here: the same values, or as near as a lossy one is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import compress
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fedmed_transforms import load_image

Encode = Callable[[Any], bytes]

ENCODED: list[tuple[UID, Encode, int, int]] = [
    (JPEGLossless, imagecodecs.ljpeg_encode, 16, 0),
    (JPEGLosslessSV1, imagecodecs.ljpeg_encode, 16, 0),
    (JPEGLosslessSV1, lambda frame: imagecodecs.ljpeg_encode(frame, bitspersample=12), 12, 0),
    (JPEGBaseline8Bit, lambda frame: imagecodecs.jpeg8_encode(frame.astype(np.uint8), level=95), 8, 12),
    (JPEGExtended12Bit, lambda frame: imagecodecs.jpeg8_encode(frame, level=95, bitspersample=12), 12, 40),
]
"""Syntax, what encodes a frame, bits stored, and the largest difference that its loss explains."""

if sys.version_info >= (3, 11):  # the last imagecodecs for Python 3.10 encodes no HTJ2K
    ENCODED += [(syntax, imagecodecs.htj2k_encode, 16, 0) for syntax in (HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)]


@pytest.fixture
def shipped() -> pydicom.Dataset:
    return pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))


@pytest.mark.parametrize(("syntax", "encode", "bits", "most"), ENCODED)
def test_frames_that_other_libraries_encode(
    tmp_path: Path, shipped: pydicom.Dataset, syntax: UID, encode: Encode, bits: int, most: int
) -> None:
    slope = np.add.outer(np.arange(128), np.arange(128)) / 254  # smooth, as lossy coding expects
    frame = np.round(slope * (2**bits - 1)).astype(np.uint16)
    shipped.PixelRepresentation, shipped.BitsStored, shipped.HighBit = 0, bits, bits - 1
    if bits == 8:
        shipped.BitsAllocated = 8
    shipped.PixelData = encapsulate([encode(frame)])
    shipped["PixelData"].is_undefined_length = True
    shipped.file_meta.TransferSyntaxUID = syntax
    shipped.save_as(tmp_path / "f.dcm")
    found = np.asarray(load_image(tmp_path / "f.dcm"))[0, ..., 0].T
    expected = frame * float(shipped.RescaleSlope) + float(shipped.RescaleIntercept)
    assert np.abs(found - expected).max() <= most and np.ptp(found) > 100


@pytest.mark.parametrize(
    ("syntax", "options", "most"),
    [
        (RLELossless, {}, 0),
        (JPEGLSLossless, {}, 0),
        (JPEGLSNearLossless, {"jls_error": 2}, 2),
        (JPEG2000Lossless, {}, 0),
    ],
)
def test_frames_that_pydicom_encodes(
    tmp_path: Path, shipped: pydicom.Dataset, syntax: UID, options: dict[str, Any], most: int
) -> None:
    expected = shipped.pixel_array * float(shipped.RescaleSlope) + float(shipped.RescaleIntercept)
    compress(shipped, syntax, **options)
    shipped.save_as(tmp_path / "f.dcm")
    assert np.abs(np.asarray(load_image(tmp_path / "f.dcm"))[0, ..., 0].T - expected).max() <= most


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_uncompressed_encodings(tmp_path: Path, shipped: pydicom.Dataset, syntax: UID) -> None:
    expected = shipped.pixel_array * float(shipped.RescaleSlope) + float(shipped.RescaleIntercept)
    if syntax == ExplicitVRBigEndian:
        path = Path(str(get_testdata_file("MR_small_bigendian.dcm", download=False)))
        expected = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False))).pixel_array
    else:
        path = tmp_path / "f.dcm"
        shipped.file_meta.TransferSyntaxUID = syntax
        shipped.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    np.testing.assert_array_equal(np.asarray(load_image(path))[0, ..., 0].T, expected)
