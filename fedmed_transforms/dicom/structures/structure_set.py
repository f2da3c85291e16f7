"""Reads a structure set of radiotherapy (RTSTRUCT): named structures as contours in the patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.geometry.mask_grid import Array
from fedmed_transforms.dicom.headers.file_start import START, is_dicom_content
from fedmed_transforms.dicom.planes import decimals_of
from fedmed_transforms.dicom.silenced_parsers import without_parser_texts

FILE_META = 2**12
"""Bytes at a file's start that name its SOP class."""

ENCLOSING = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Types of contours that enclose an area (PS3.3, C.8.8.6.3)."""

TYPES = (*ENCLOSING, "POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")


@dataclass(frozen=True, eq=False)
class Structure:
    """A structure of a set.

    Attributes
    ----------
    name
        ROIName.
    frame
        UID of the frame of reference that its contours lie in; empty if not stated.
    contours
        The type and the points (n, 3) of each contour, mm, LPS.
    """

    name: str
    frame: str
    contours: tuple[tuple[str, Array], ...]

    @property
    def encloses(self) -> bool:
        """Whether there is a contour that encloses an area; points and open lines mark a place."""
        return any(kind in ENCLOSING for kind, _ in self.contours)


def structure_set_file(path: Path) -> Path | None:
    """Finds the structure set that a path names: a file, or a folder's only file; None for any other path."""
    try:
        if path.is_dir():
            files = (entry for entry in path.iterdir() if not entry.name.startswith("."))
            first, second = next(files, None), next(files, None)
            return None if first is None or second is not None else structure_set_file(first)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            start = file.read(FILE_META)
        if not is_dicom_content(start[:START]) or RTStructureSetStorage.encode() not in start:
            return None
        with without_parser_texts(path, "DICOM"):
            header = pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    except (OSError, ValueError):  # the reader of images refuses the path, with the reason
        return None
    return path if header.get("SOPClassUID") == RTStructureSetStorage else None


def read_structures(path: Path) -> list[Structure]:
    """Reads the structures of a file in the order of its StructureSetROISequence.

    Source: DICOM PS3.3, C.8.8.5 (structure set), C.8.8.6 (ROI contour).

    Raises
    ------
    ValueError
        The file is no structure set or is damaged; the message names the file.
    """
    with without_parser_texts(path, "a readable structure set (RTSTRUCT)"):
        dicom = pydicom.dcmread(path)
        if dicom.SOPClassUID != RTStructureSetStorage:
            raise Damaged("another SOP class")
        regions = list(dicom.get("StructureSetROISequence") or [])
        if any(region.get("ROINumber") is None for region in regions):
            raise Damaged("a structure without ROINumber")
        numbers = [int(region.ROINumber) for region in regions]
        if not regions or len(set(numbers)) < len(numbers):
            raise Damaged(f"{len(numbers)} structures with {len(set(numbers))} different ROINumbers")
        contours: dict[int, list[tuple[str, Array]]] = {number: [] for number in numbers}
        for item in dicom.get("ROIContourSequence") or []:
            contours.setdefault(int(item.ReferencedROINumber), []).extend(_contours(item.get("ContourSequence") or []))
        frame = str(dicom.get("FrameOfReferenceUID") or "")
        return [
            Structure(
                name=str(region.get("ROIName") or "").strip(),
                frame=str(region.get("ReferencedFrameOfReferenceUID") or frame),
                contours=tuple(contours[number]),
            )
            for number, region in zip(numbers, regions, strict=True)
        ]


def _contours(items: Iterable[Dataset]) -> list[tuple[str, Array]]:
    return [(_type_of(item), _points(item)) for item in items]


def _type_of(contour: Dataset) -> str:
    """Returns the ContourGeometricType; a type that the standard does not know is not repeated in messages."""
    kind = str(contour.get("ContourGeometricType") or "")
    return kind if kind in TYPES else "of an unknown type"


def _points(contour: Dataset) -> Array:
    numbers = decimals_of(contour, "ContourData")
    stated = contour.get("NumberOfContourPoints")
    if len(numbers) % 3 or not np.isfinite(numbers).all() or (stated is not None and 3 * int(stated) != len(numbers)):
        raise Damaged(f"a contour of {len(numbers)} coordinates and the NumberOfContourPoints {stated}")
    return np.asarray(numbers, dtype=np.float64).reshape(-1, 3)
