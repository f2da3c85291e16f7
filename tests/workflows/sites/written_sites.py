"""Sites as a user writes them: class folders, datalists, DICOM files of a patient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PARTS = ("training", "validation", "test")


def write_folder(folder: Path, **classes: int) -> Path:
    """Empty pictures by class; only a reader would mind."""
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            (folder / name / f"{index:02}.png").touch()
    return folder


def write_datalist(path: Path, folder: Path, **content: Any) -> Path:
    """A datalist of sections ``{part: {class: numbers}}`` over a folder's pictures."""
    for part in set(content) & set(PARTS):
        content[part] = [
            {"image": str((folder / name / f"{index:02}.png").relative_to(path.parent)), "label": name}
            for name, indices in content[part].items()
            for index in indices
        ]
    path.write_text(json.dumps(content))
    return path


def write_dicom(path: Path, patient: str, series: str | None = None) -> None:
    """A file of DICOM without an image, of a patient."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    dataset.file_meta, dataset.PatientID = meta, patient
    dataset.SeriesInstanceUID = series or generate_uid()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
