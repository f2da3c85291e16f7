"""Writes a CT series and a structure set (RTSTRUCT) of contours on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage

FRAME = "1.2.826.0.1.3680043.10.511.9"

ORIGIN = np.array([-60.0, -45.0, 20.0])
"""Centre of the first voxel, mm, LPS."""

SPACING = (1.5, 1.25, 3.0)
"""Between columns, rows and slices, mm."""

SHAPE = (80, 72, 7)
"""Columns, rows and slices."""

AXIAL = (1.0, 0, 0, 0, 1.0, 0)
OBLIQUE = (0.8, 0.6, 0, -0.36, 0.48, 0.8)

Contour = tuple[str, Any]
"""The type of a contour, and its points (n, 3): column, row and slice in voxels, with decimals."""


def directions(cosines: Sequence[float]) -> np.ndarray:
    """The steps from a voxel to the next column, row and slice, as columns (3, 3), mm, LPS."""
    rows, columns = np.reshape(cosines, (2, 3))
    return np.stack([rows, columns, np.cross(rows, columns)], axis=1) * SPACING


def write_ct(folder: Path, cosines: Sequence[float] = AXIAL, frame: str = FRAME) -> Path:
    """Writes the slices of a series."""
    folder.mkdir(parents=True)
    for number in range(SHAPE[2]):
        dicom = new_file(CTImageStorage, f"1.2.3.4.{number + 1}", "CT", "1.2.3.4")
        dicom.FrameOfReferenceUID, dicom.InstanceNumber = frame, number + 1
        dicom.ImagePositionPatient = [round(float(x), 6) for x in ORIGIN + directions(cosines) @ [0, 0, number]]
        dicom.ImageOrientationPatient, dicom.PixelSpacing = list(cosines), [SPACING[1], SPACING[0]]
        dicom.SliceThickness = SPACING[2]
        pixels = np.full(SHAPE[1::-1], number, dtype=np.int16)
        dicom.set_pixel_data(pixels, "MONOCHROME2", 16, generate_instance_uid=False)
        dicom.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def write_structures(
    path: Path,
    structures: Mapping[str, Sequence[Contour]],
    cosines: Sequence[float] = AXIAL,
    frame: str = FRAME,
    decimals: int = 6,
) -> Path:
    """Writes contours in voxels as an RTSTRUCT in the patient, rounded to decimals of a mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom = new_file(RTStructureSetStorage, "1.2.3.5.1", "RTSTRUCT", "1.2.3.5")
    dicom.StructureSetLabel = "plan"
    dicom.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame)]
    dicom.StructureSetROISequence = [
        item(ROINumber=10 + number, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        for number, name in enumerate(structures)
    ]
    dicom.ROIContourSequence = [
        item(ReferencedROINumber=10 + number, ContourSequence=[_contour(*one, cosines, decimals) for one in contours])
        for number, contours in enumerate(structures.values())
        if contours
    ]
    dicom.save_as(path, enforce_file_format=True)
    return path


def _contour(kind: str, points: Any, cosines: Sequence[float], decimals: int) -> Dataset:
    places = np.asarray(points, dtype=float) @ directions(cosines).T + ORIGIN
    data = [f"{value:.{decimals}f}" for value in places.ravel()]
    return item(ContourGeometricType=kind, NumberOfContourPoints=len(places), ContourData=data)


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def new_file(kind: str, instance: str, modality: str, series: str) -> Dataset:
    dicom = item(SOPClassUID=kind, SOPInstanceUID=instance, Modality=modality, SeriesInstanceUID=series)
    dicom.StudyInstanceUID, dicom.PatientID = "1.2.3", "anonymous"
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dicom


def circle(x: float, y: float, radius: float, z: float, points: int = 180) -> np.ndarray:
    """A circle of a radius in mm around a place in voxels, (points, 3) in voxels."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    across, down = radius / SPACING[0] * np.cos(angle), radius / SPACING[1] * np.sin(angle)
    return np.stack([x + across, y + down, np.full(points, z)], axis=1)
