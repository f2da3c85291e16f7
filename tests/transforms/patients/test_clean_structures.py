"""A cleaned structure set: its contours still refer to the cleaned slices, and its names lose patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from fedmed_transforms import clean_folder
from fedmed_transforms.patients.identifiers import find_identifiers

NAMES = ("Lung_L", "GTV Doe", "PTV 4711-A", "long axis", "Jane")
KEPT = ("Lung_L", "REMOVED", "REMOVED", "long axis", "REMOVED")


def items(**elements: object) -> list[Dataset]:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def structures(series: Path, path: Path) -> Path:
    """Writes the structures of pydicom's own example for a series, a contour on each slice."""
    slices = [pydicom.dcmread(file) for file in sorted(series.iterdir())]
    dicom = pydicom.dcmread(str(get_testdata_file("rtstruct.dcm", download=False)), force=True)
    dicom.StudyInstanceUID, dicom.PatientID = slices[0].StudyInstanceUID, slices[0].PatientID
    dicom.ReferencedFrameOfReferenceSequence = items(FrameOfReferenceUID=slices[0].FrameOfReferenceUID)
    contours = [items(ContourImageSequence=items(ReferencedSOPInstanceUID=it.SOPInstanceUID))[0] for it in slices]
    dicom.ROIContourSequence = [items(ContourSequence=[it], ReferencedROINumber=1)[0] for it in contours]
    dicom.StructureSetROISequence = [items(ROINumber=number, ROIName=name)[0] for number, name in enumerate(NAMES)]
    dicom.save_as(path)
    return path


def test_a_structure_set(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    source, target = tmp_path / "source", tmp_path / "cleaned"
    series = save_series(source / "images", PatientID="4711-A", PatientName="Doe^Jane^Long")
    structures(series, source / "structures.dcm")
    assert clean_folder(source, target) == [] and find_identifiers(target) == []
    images = [pydicom.dcmread(file) for file in sorted((target / "images").iterdir())]
    dicom = pydicom.dcmread(target / "structures.dcm")
    assert tuple(item.ROIName for item in dicom.StructureSetROISequence) == KEPT
    contours = [item.ContourSequence[0].ContourImageSequence[0] for item in dicom.ROIContourSequence]
    assert [item.ReferencedSOPInstanceUID for item in contours] == [image.SOPInstanceUID for image in images]
    frame = dicom.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    assert {frame} == {image.FrameOfReferenceUID for image in images} and frame.startswith("2.25.")
    assert (dicom.PatientID, dicom.StudyInstanceUID) == (images[0].PatientID, images[0].StudyInstanceUID)
