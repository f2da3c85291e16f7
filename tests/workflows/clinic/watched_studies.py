"""Small studies, and a watch over them whose network is there in a moment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import highdicom.sr  # noqa: F401, which takes seconds: before the processes part
import numpy as np
import torch
from ignite.engine import Engine
from monai.data import DataLoader
from monai.engines.utils import IterationEvents
from monai.transforms import Activationsd, Compose, EnsureTyped
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from torch import nn

from fedmed_transforms import LoadMedicalImaged
from fedmed_workflows.clinic.classification_files import ClassificationFiles
from fedmed_workflows.clinic.result_files import RefusedStudies
from fedmed_workflows.clinic.study_dataset import StudyDataset
from fedmed_workflows.clinic.watch.evaluator import WatchEvaluator
from fedmed_workflows.clinic.watch.folder import WatchedFolder
from fedmed_workflows.clinic.watch.watch import Watch
from tests.watch_process import states

SLICES = 4

SETTLE, POLL = 0.3, 0.05


def write_slice(
    folder: Path, study: str, number: int, value: int = 1, series: str = "1", shown: bool = True, **elements: Any
) -> Path:
    """A slice of 8 x 8 pixels of one value; written under a hidden name first, as rsync does."""
    dicom = Dataset()
    dicom.SOPClassUID, dicom.SOPInstanceUID = MRImageStorage, f"{study}.{series}.{number + 1}"
    dicom.StudyInstanceUID, dicom.SeriesInstanceUID = study, f"{study}.{series}"
    dicom.FrameOfReferenceUID, dicom.Modality, dicom.InstanceNumber = f"{study}.9", "MR", number + 1
    dicom.PatientID, dicom.PatientName = "4711", "Doe^Jane"
    dicom.PixelSpacing, dicom.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
    dicom.ImagePositionPatient = [0, 0, float(number)]
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom.set_pixel_data(np.full((8, 8), value, np.uint16), "MONOCHROME2", 16, generate_instance_uid=False)
    for keyword, content in elements.items():
        setattr(dicom, keyword, content)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{series}-{number}.dcm"
    dicom.save_as(hidden(path), enforce_file_format=True)
    return hidden(path).rename(path) if shown else path


def hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def write_study(folder: Path, study: str, value: int = 1, **elements: Any) -> Path:
    """A study of one series; its slices appear together, so that it settles on a busy machine too."""
    for path in [write_slice(folder, study, number, value, shown=False, **elements) for number in range(SLICES)]:
        hidden(path).rename(path)
    return folder


class Brightness(nn.Module):
    """Stands in for a network: the sum of the voxels decides.

    What a study's voxels say happens on the way: 66 ends the process, 77 takes as long as the file ``gate`` is there.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        value = int(image.max())
        if value == 66:
            os.kill(os.getpid(), 9)
        while value == 77 and (self.folder / "gate").exists():
            time.sleep(0.02)
        return torch.stack([torch.zeros(1), image.sum().reshape(1)], 1)


def make_watch(
    source: Path,
    output_dir: Path,
    rules: dict[str, Any] | None = None,
    results: type[ClassificationFiles] = ClassificationFiles,
) -> tuple[Watch, WatchEvaluator]:
    """A watch over a folder, and its evaluator, which notes in ``answered`` beside the results what it has answered."""
    watch = Watch(WatchedFolder(str(source), str(output_dir), rules), str(output_dir), SETTLE, POLL)

    def note(engine: Engine) -> None:
        with output_dir.with_name("answered").open("a") as file:
            file.writelines(f"{item['study'] or Path(item['path']).name}\n" for item in engine.state.batch)

    evaluator = WatchEvaluator(
        device="cpu",
        val_data_loader=DataLoader(StudyDataset(watch, LoadMedicalImaged("image")), batch_size=1),
        network=Brightness(source.parent),
        postprocessing=Compose([Activationsd("pred", softmax=True), EnsureTyped("pred", track_meta=True)]),
        val_handlers=[results(str(output_dir), ["dark", "bright"]), RefusedStudies(str(output_dir))],
    )
    evaluator.add_event_handler(IterationEvents.MODEL_COMPLETED, note)
    return watch, evaluator


def run_watch(source: Path, output_dir: Path, **settings: Any) -> None:
    """Runs such a watch until the process is told to stop."""
    watch, evaluator = make_watch(source, output_dir, **settings)
    watch.run(evaluator)


def answered(output_dir: Path) -> list[str]:
    """The studies that a network has answered, in order."""
    path = output_dir.with_name("answered")
    return path.read_text().split() if path.exists() else []


def files_below(folder: Path) -> list[str]:
    """All files, relative to a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


KEPT = [".watch.lock", "predictions.csv", "results.csv", "status.html", "watch.sqlite"]
"""The files beside the results of a watch that runs."""


def all_done(output_dir: Path, count: int) -> bool:
    """Tells if the given number of studies is done and the ledger holds no other study."""
    return list(states(output_dir).values()) == ["done"] * count
