"""Writes phantoms as DICOM series and computes the affine of their slices; the files do not depend on the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from fedmed_transforms.image_metadata import LPS_FROM_RAS
from fedmed_transforms.simulation.scanners import Image, Scanner

BITS = 12
SLICE_THICKNESS = 5.0  # mm


def write_series(folder: Path, patient: str, images: Sequence[Image], scanner: Scanner, study: str) -> None:
    """Writes the only series of a patient, one file ``<patient>_<number>.dcm`` a slice, axial, from the feet upwards.

    Parameters
    ----------
    folder
        The folder to write.
    patient
        A pseudonym.
    images
        Square images in [0, 1], (rows, columns), one for each slice.
    scanner
        The scanner whose name and field of view the files state.
    study
        Text that distinguishes the UIDs of the series from other phantoms of the same patient.
    """
    for number, image in enumerate(images, start=1):
        dicom = _header(patient, number, study)
        dicom.Manufacturer, dicom.ManufacturerModelName = scanner.manufacturer, scanner.model
        _add_image(dicom, image, scanner.field)
        dicom.save_as(folder / f"{patient}_{number}.dcm", enforce_file_format=True)


def stored_values(image: Image) -> npt.NDArray[np.uint16]:
    """Converts values in [0, 1] to the 12 bits that the files store."""
    return np.round(image * (2**BITS - 1)).astype(np.uint16)


def series_affine(side: int, field: float) -> Image:
    """Computes the affine (4, 4) of a series: voxel (column, row, slice) to mm, RAS.

    Parameters
    ----------
    side
        Number of pixels of a side.
    field
        Field of view in mm.
    """
    spacing, corner = _spacing_and_corner(side, field)
    affine = np.diag([spacing, spacing, SLICE_THICKNESS, 1.0])
    affine[:2, 3] = corner
    return np.asarray(LPS_FROM_RAS @ affine)


def _header(patient: str, number: int, study: str) -> Dataset:
    dicom = Dataset()
    dicom.SOPClassUID, dicom.Modality, dicom.ImageType = MRImageStorage, "MR", ["ORIGINAL", "PRIMARY"]
    dicom.SOPInstanceUID = _uid(study, patient, f"image {number}")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dicom, keyword, _uid(study, patient, keyword))
    dicom.PatientID = dicom.PatientName = patient
    dicom.PatientIdentityRemoved, dicom.DeidentificationMethod = "YES", "no patient: a computed phantom"
    for keyword in ("PatientBirthDate", "PatientSex", "ReferringPhysicianName", "AccessionNumber", "ScanOptions"):
        setattr(dicom, keyword, "")  # DICOM requires these elements, empty values are allowed
    dicom.StudyDate, dicom.StudyTime, dicom.StudyID = "20240115", "120000", "1"
    dicom.ScanningSequence, dicom.SequenceVariant, dicom.MRAcquisitionType = "SE", "NONE", "2D"
    dicom.RepetitionTime, dicom.EchoTime, dicom.EchoTrainLength = 500, 15, 1
    dicom.PatientPosition, dicom.PositionReferenceIndicator = "HFS", ""
    dicom.SeriesNumber, dicom.InstanceNumber = 1, number
    return dicom


def _add_image(dicom: Dataset, image: Image, field: float) -> None:
    """Adds the pixels of an axial slice around the isocentre; lengths are in mm."""
    spacing, corner = _spacing_and_corner(len(image), field)
    dicom.PixelSpacing, dicom.SliceThickness = [spacing] * 2, SLICE_THICKNESS
    dicom.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dicom.ImagePositionPatient = [corner, corner, SLICE_THICKNESS * (dicom.InstanceNumber - 1)]
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom.set_pixel_data(stored_values(image), "MONOCHROME2", BITS, generate_instance_uid=False)
    dicom.RescaleSlope, dicom.RescaleIntercept, dicom.RescaleType = 1, 0, "US"


def _spacing_and_corner(side: int, field: float) -> tuple[float, float]:
    """Returns the pixel spacing and the first pixel's position along x and y in mm, rounded for DICOM's decimals."""
    return round(field / side, 6), round((1 / side - 1) * field / 2, 6)


def _uid(study: str, patient: str, part: str) -> str:
    return str(generate_uid(entropy_srcs=["fedmed phantom", study, patient, part]))
