"""An asymmetric picture, and DICOM files of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

Picture: TypeAlias = npt.NDArray[Any]

PLANES = {"axial": [1, 0, 0, 0, 1, 0], "sagittal": [0, 1, 0, 0, 0, -1], "coronal": [1, 0, 0, 0, 0, -1]}
"""ImageOrientationPatient of each plane as it is usually acquired: where rows, then columns run to (LPS)."""


@pytest.fixture
def letter() -> Picture:
    """An F, (20 rows, 12 columns), uint8: no turn and no mirror maps it to itself."""
    picture = np.zeros((20, 12), dtype=np.uint8)
    picture[2:18, 2:5] = 200
    picture[2:5, 2:10] = 200
    picture[8:11, 2:8] = 200
    return picture


@pytest.fixture
def save_dicom() -> Callable[..., Path]:
    """Writes one slice: ``save_dicom(path, pixels, plane="axial", number=1, position=0.0, **elements)``."""

    def save(
        path: Path, pixels: Picture, plane: str = "axial", number: int = 1, position: float = 0.0, **elements: Any
    ) -> Path:
        dicom = Dataset()
        dicom.SOPClassUID, dicom.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=[str(path)])
        dicom.SeriesInstanceUID = generate_uid(entropy_srcs=[str(path.parent)])
        dicom.Modality, dicom.PatientID, dicom.InstanceNumber = "MR", "anonymous", number
        dicom.PixelSpacing, dicom.ImageOrientationPatient = [1.0, 1.0], PLANES[plane]
        across = np.abs(np.cross(PLANES[plane][:3], PLANES[plane][3:]))
        dicom.ImagePositionPatient = [float(value) for value in position * across]
        dicom.file_meta = FileMetaDataset()
        dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        kind = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
        dicom.set_pixel_data(pixels, kind, 8 * pixels.dtype.itemsize, generate_instance_uid=False)
        for keyword, value in elements.items():
            setattr(dicom, keyword, value)
        dicom.save_as(path, enforce_file_format=True)
        return path

    return save
