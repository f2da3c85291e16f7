"""Writes pictures that hold the slices of a volume: Siemens mosaics and United Imaging's VFRAME images."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from monai.data import MetaTensor
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

Array: TypeAlias = npt.NDArray[Any]

PLANES = {
    "axial": [1, 0, 0, 0, 1, 0],
    "sagittal": [0, 1, 0, 0, 0, -1],
    "coronal": [1, 0, 0, 0, 0, -1],
    "tilted": [1, 0, 0, 0, 0.9483237, -0.3173047],
    "oblique": [0.8, 0.6, 0, -0.36, 0.48, -0.8],
}
ROWS, COLUMNS = 12, 11
SPACING = (2.0, 1.5)
"""Of rows, of columns, mm."""
STEP = 3.5
FIRST = np.array([10.0, -20.0, 30.0])
"""Centre of the first pixel of the first slice, mm, LPS."""


def content(point: Array) -> Array:
    """A linear function of the place in the patient, LPS mm."""
    return np.asarray(np.round(8 * (1000 + 3 * point[..., 0] - 2 * point[..., 1] + 5 * point[..., 2])))


def values_at(image: MetaTensor) -> Array:
    """The value that each voxel of (1, X, Y, Z) must have by the place where the affine puts it, (X, Y, Z)."""
    index = np.stack(np.meshgrid(*(np.arange(side) for side in image.shape[1:]), indexing="ij"), axis=-1)
    ras = index @ image.affine.numpy()[:3, :3].T + image.affine.numpy()[:3, 3]
    return content(ras * [-1, -1, 1])


def check_places(image: MetaTensor) -> None:
    """Every voxel holds the value of the place where the affine puts it, to the rounding of stored values."""
    np.testing.assert_allclose(np.asarray(image)[0], values_at(image), atol=1.01)


def places(cosines: Sequence[float], count: int, sign: int) -> Array:
    """The place of each pixel, (slices, rows, columns, 3), of slices along the normal or against it."""
    along = np.reshape(np.asarray(cosines, dtype=float), (2, 3))
    normal = sign * np.cross(along[0], along[1])
    number, row, column = np.meshgrid(np.arange(count), np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    return np.asarray(
        FIRST
        + number[..., None] * STEP * normal
        + row[..., None] * SPACING[0] * along[1]
        + column[..., None] * SPACING[1] * along[0]
    )


def fold(slices: Array, down: int, across: int) -> Array:
    """Puts slices into a grid, the first at the top left; empty tiles hold zeros."""
    picture = np.zeros((down * ROWS, across * COLUMNS), dtype=np.uint16)
    for number, pixels in enumerate(slices):
        top, left = number // across * ROWS, number % across * COLUMNS
        picture[top : top + ROWS, left : left + COLUMNS] = pixels
    return picture


def csa_header(tags: dict[str, tuple[str, list[str]]]) -> bytes:
    """A CSA image header, version SV10, of tags with their representation and values."""
    parts = [b"SV10\4\3\2\1", struct.pack("<2I", len(tags), 77)]
    for name, (representation, values) in tags.items():
        head = name.encode().ljust(64, b"\0"), len(values), representation.encode().ljust(4, b"\0"), 0, len(values), 77
        parts.append(struct.pack("<64si4s3i", *head))
        for value in values:
            data = value.encode() + b"\0"
            parts.append(struct.pack("<4i", len(data), len(data), 77, len(data)) + data + bytes(-len(data) % 4))
    return b"".join(parts)


def dataset(picture: Array, cosines: Sequence[float], position: Array, **elements: Any) -> Dataset:
    """A header of an MR image with these pixels."""
    dicom = Dataset()
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom.SOPClassUID, dicom.SOPInstanceUID, dicom.Modality = MRImageStorage, "1.2.3.4.1", "MR"
    dicom.StudyInstanceUID, dicom.SeriesInstanceUID, dicom.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.9"
    dicom.PatientID, dicom.InstanceNumber, dicom.SeriesNumber = "anonymous", 1, 1
    dicom.PixelSpacing, dicom.ImageOrientationPatient = list(SPACING), list(cosines)
    dicom.ImagePositionPatient = [round(float(value), 6) for value in position]
    dicom.SliceThickness = 3
    dicom.set_pixel_data(picture, "MONOCHROME2", 16, generate_instance_uid=False)
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    return dicom


def siemens(plane: str = "axial", count: int = 5, sign: int = 1, normal: bool = True, **elements: Any) -> Dataset:
    """A mosaic of slices along the normal of their rows and columns, or against it."""
    cosines = np.asarray(PLANES[plane], dtype=float)
    side = math.ceil(math.sqrt(count))
    shift = (side - 1) / 2 * np.array([COLUMNS * SPACING[1], ROWS * SPACING[0]])
    picture = fold(content(places(cosines, count, sign)), side, side)
    kinds = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    place = FIRST - shift @ cosines.reshape(2, 3)
    dicom = dataset(picture, cosines, place, Manufacturer="SIEMENS", ImageType=kinds, SpacingBetweenSlices=STEP)
    tags = {"NumberOfImagesInMosaic": ("US", [f"{count}"])}
    if normal:
        values = sign * np.cross(cosines[:3], cosines[3:])
        tags["SliceNormalVector"] = ("FD", [f"{value:.8f}" for value in values])
    dicom.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    block = dicom.private_block(0x29, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x10, "OB", csa_header(tags))
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    return dicom


def united_imaging(plane: str = "axial", count: int = 5, sign: int = 1) -> Dataset:
    """A VFRAME picture: as many rows of tiles as slices need, and a private sequence with the place of each slice."""
    cosines = np.asarray(PLANES[plane], dtype=float)
    across = math.ceil(math.sqrt(count))
    points = places(cosines, count, sign)
    picture = fold(content(points), math.ceil(count / across), across)
    dicom = dataset(picture, cosines, FIRST, Manufacturer="UIH", ImageType=["ORIGINAL", "PRIMARY", "M", "VFRAME"])
    dicom.SpacingBetweenSlices = STEP
    block = dicom.private_block(0x65, "Image Private Header", create=True)
    block.add_new(0x50, "DS", f"{count}")
    items = [Dataset() for _ in range(count)]
    for item, first in zip(items, points[:, 0, 0], strict=True):
        item.ImagePositionPatient = [round(float(value), 6) for value in first]
    block.add_new(0x51, "SQ", items)
    return dicom


def save(dicom: Dataset, path: Path) -> Path:
    """Writes a header with its pixels as a file."""
    dicom.save_as(path, enforce_file_format=True)
    return path
