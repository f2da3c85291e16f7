"""DICOM images of every orientation, with cosines of few decimals, as several files or as one of several frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

Vector: TypeAlias = npt.NDArray[np.float64]

ROWS, COLUMNS = 300, 250
SPACING = (0.85, 0.98)
"""Between rows, and between columns, in mm: the last pixel lies 351 mm from the first."""

DISTANCE = 3.5
FIRST = np.array([-121.25, -140.5, 33.75])


def turned(axis: tuple[float, float, float], degrees: float, cosines: Vector) -> Vector:
    """Cosines (2, 3) after a turn around an axis (Rodrigues)."""
    unit, angle = np.asarray(axis) / np.linalg.norm(axis), np.radians(degrees)
    along = np.outer(cosines @ unit, unit)
    turn = along + np.cos(angle) * (cosines - along) + np.sin(angle) * np.cross(unit, cosines)
    return np.asarray(turn)


AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
ORIENTATIONS = {
    "axial": AXIAL,
    "sagittal": np.array([[0.0, 1, 0], [0, 0, -1]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, -1]]),
    "prone": -AXIAL,
    "decubitus": np.array([[0.0, 1, 0], [-1, 0, 0]]),
    "oblique": turned((1, 0, 0), 33, AXIAL),
    "decubitus oblique": turned((0, 1, 0), -14, np.array([[0.0, 1, 0], [-1, 0, 0]])),
    "double oblique": turned((0, 0, 1), 37, turned((1, 0, 0), -21, AXIAL)),
    "double oblique sagittal": turned((1, 2, 4), 47, np.array([[0.0, 1, 0], [0, 0, -1]])),
}


def rounded(cosines: Vector, decimals: int) -> Vector:
    """Cosines as a scanner writes them."""
    return np.asarray(np.round(cosines, decimals) + 0.0)


def accepted(cosines: Vector) -> bool:
    """Tells if cosines are of unit length to a hundredth and perpendicular to a thousandth, as the loader accepts them.
    """
    lengths = np.linalg.norm(cosines, axis=1)
    unit = cosines / lengths[:, None]
    return bool((abs(lengths - 1) <= 1e-2).all() and abs(unit[0] @ unit[1]) <= 1e-3)


def write_images(folder: Path, orientation: str, decimals: int, kind: str) -> Path:
    """Writes an image of an orientation.

    Parameters
    ----------
    folder
        Folder of the files.
    orientation, decimals
        As of ``ORIENTATIONS``, its cosines rounded.
    kind
        "series" of five files, "slice" of one file, or one file of five frames: "shared" or "each", by the functional
        group in which the orientation stands.
    """
    folder.mkdir()
    exact = ORIENTATIONS[orientation]
    cosines = rounded(exact, decimals)
    positions = [np.round(FIRST + DISTANCE * number * np.cross(*exact), 4) for number in range(5)]
    if kind in ("shared", "each"):
        return _save(_frames(cosines, positions, kind == "shared"), folder / "image.dcm")
    for number, position in enumerate(positions[:1] if kind == "slice" else positions):
        dicom = _image(CTImageStorage, number, 1)
        dicom.ImagePositionPatient, dicom.ImageOrientationPatient = list(position), list(cosines.ravel())
        dicom.PixelSpacing, dicom.SliceThickness = list(SPACING), DISTANCE
        _save(dicom, folder / f"{'dacbe'[number]}.dcm")  # not in the order of the slices
    return folder


def item(**elements: Any) -> list[Dataset]:
    """A sequence of one item."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return [dataset]


def _frames(cosines: Vector, positions: list[Vector], shared: bool) -> Dataset:
    dicom = _image(EnhancedCTImageStorage, 0, len(positions))
    groups = {
        "PixelMeasuresSequence": item(PixelSpacing=list(SPACING), SliceThickness=DISTANCE),
        "PlaneOrientationSequence": item(ImageOrientationPatient=list(cosines.ravel())),
    }
    places = [item(PlanePositionSequence=item(ImagePositionPatient=list(position)))[0] for position in positions[::-1]]
    for holder in item(**groups) if shared else []:
        dicom.SharedFunctionalGroupsSequence = [holder]
    for place in [] if shared else places:
        place.update(item(**groups)[0])
    dicom.PerFrameFunctionalGroupsSequence = places
    return dicom


def _image(kind: UID, number: int, frames: int) -> Dataset:
    dicom = Dataset()
    dicom.SOPClassUID, dicom.SOPInstanceUID = kind, generate_uid(entropy_srcs=[str(number)])
    dicom.StudyInstanceUID, dicom.SeriesInstanceUID, dicom.FrameOfReferenceUID = "1.2.3.4", "1.2.3.6", "1.2.3.5"
    dicom.Modality, dicom.InstanceNumber, dicom.PatientID, dicom.PatientName = "CT", number + 1, "1", "Doe^Jane"
    dicom.Rows, dicom.Columns, dicom.SamplesPerPixel, dicom.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit, dicom.PixelRepresentation = 16, 16, 15, 0
    if frames > 1:
        dicom.NumberOfFrames = frames
    dicom.PixelData = bytes(2 * ROWS * COLUMNS * frames)
    return dicom


def _save(dicom: Dataset, path: Path) -> Path:
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom["PixelData"].VR = "OW"
    dicom.save_as(path, enforce_file_format=True)
    return path
