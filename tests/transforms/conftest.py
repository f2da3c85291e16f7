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


SERIES_PLANES = {**PLANES, "oblique": [0.8, 0.6, 0, -0.36, 0.48, -0.8]}

NAMES = ("d", "a", "c", "b", "e")
"""Of a series' files by slice: in another order than the slices."""


@pytest.fixture
def save_series(save_dicom: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a series of five slices, pixels 2 mm wide and 1.5 mm high: ``save_series(folder, plane, **elements)``."""

    def save(folder: Path, plane: str = "axial", **elements: Any) -> Path:
        folder.mkdir(parents=True)
        direction = SERIES_PLANES[plane]
        for number, name in enumerate(NAMES):
            position = np.array([-31.0, 17.5, 40.25]) + 3.5 * number * np.cross(direction[:3], direction[3:])
            pixels = np.full((9, 6), number, dtype=np.uint16)
            place = {"ImagePositionPatient": [round(float(value), 6) for value in position]}
            study = {
                "StudyInstanceUID": "1.2.3.4",
                "FrameOfReferenceUID": "1.2.3.5",
                "ImageOrientationPatient": direction,
            }
            size = {"PixelSpacing": [1.5, 2.0], "PatientName": "Doe^Jane"}
            kept = {**study, **place, **size, **elements}
            save_dicom(folder / f"{name}.dcm", pixels, number=number + 1, **kept)
        return folder

    return save
