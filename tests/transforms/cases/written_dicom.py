"""Small pictures as DICOM files, native and compressed, and the folder of public cases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from fedmed_transforms import load_image

SYNTAXES = (RLELossless, JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless)

FULL = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def write(path: Path, content: bytes, syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> Path:
    """Writes a picture of 4 rows and 6 columns, 8 bits, grey; None leaves an element out."""
    dicom = Dataset()
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = syntax
    dicom.SOPClassUID, dicom.SOPInstanceUID, dicom.SeriesInstanceUID = SecondaryCaptureImageStorage, "1.2.3", "1.2"
    dicom.Modality, dicom.Rows, dicom.Columns, dicom.PixelRepresentation = "OT", 4, 6, 0
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    kind = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
    for keyword, value in {**bits, **kind, **elements}.items():
        if value is not None:
            setattr(dicom, keyword, value)
    dicom.add_new("PixelData", "OB" if syntax.is_encapsulated else "OW", content)
    dicom["PixelData"].is_undefined_length = syntax.is_encapsulated
    dicom.save_as(path, enforce_file_format=True)
    return path


def colours(**elements: Any) -> dict[str, Any]:
    """Elements of a picture in red, green and blue."""
    return {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, **elements}


def loaded(path: Path, **rules: Any) -> Any:
    """(rows, columns[, 3]) in the units of the samples."""
    image = np.asarray(load_image(path, **rules))
    return np.rint(255 * image.T) if len(image) == 3 else image[0].T


def case(name: str) -> Path:
    """A public case; the test is skipped where the folder of real images is not set."""
    if "FEDMED_DATA" not in os.environ:
        pytest.skip("FEDMED_DATA names no folder of real images")
    return Path(os.environ["FEDMED_DATA"]) / "cases" / name


def compressed(syntax: UID, stored: Any) -> bytes:
    """A frame of 8-bit grey."""
    if syntax == RLELossless:
        options: dict[str, Any] = {"rows": 4, "columns": 6, "number_of_frames": 1, "samples_per_pixel": 1}
        options.update(bits_allocated=8, bits_stored=8, pixel_representation=0)
        return RLELosslessEncoder.encode(stored.tobytes(), photometric_interpretation="MONOCHROME2", **options)
    encoders: dict[UID, Any] = {
        JPEGLSLossless: imagecodecs.jpegls_encode, JPEGBaseline8Bit: imagecodecs.jpeg8_encode,
        JPEG2000Lossless: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0),
    }  # fmt: skip
    return bytes(encoders[syntax](np.ascontiguousarray(stored)))
