"""MONAI Label servers of a folder and of an archive, small bundles for them, and studies."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tests.label.label_service import Label, serving
from tests.orthanc_server import OrthancServer

ROOT = Path(__file__).parents[2]


def write_bundle(folder: Path, original: str, labels: dict[str, str], **entries: Any) -> Path:
    """A bundle of the repository under another name, with other entries in both configurations and other labels."""
    shutil.copytree(ROOT / "bundles" / original / "configs", folder / "configs")
    (folder / "models").mkdir()
    for name in ("inference.json", "train.json"):
        file = folder / "configs" / name
        content = json.loads(file.read_text())
        known = {key: value for key, value in entries.items() if key in content}
        file.write_text(json.dumps({**content, **known}))
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = labels
    file.write_text(json.dumps(metadata))
    return folder


def write_checkpoint(bundle: Path) -> None:
    """The network that the bundle's configuration describes, in random weights."""
    parser = ConfigParser(json.loads((bundle / "configs" / "inference.json").read_text()))
    parser["bundle_root"] = str(bundle)
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    torch.save({"model": network.state_dict()}, bundle / "models" / "model.pt")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory, small_clip: dict[str, Any]) -> dict[str, Path]:
    """Both segmentation bundles with a known answer; a segmentation and a classification bundle that can learn."""
    root = tmp_path_factory.mktemp("bundles")
    found = {"0": "background", "1": "Organ"}
    sizes = {
        "width": 32, "depth": 2, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16, "neck": 16,
        "decoder_depth": 1, "decoder_heads": 2, "decoder_mlp": 32,
    }  # fmt: skip
    small = {"image_size": 64, "normalize": False}
    known = {"network_def": {"_target_": "known_networks.Bright"}}
    written = {}
    for name in ("fedsam_segmentation", "fedmsa_segmentation"):
        written[name] = write_bundle(root / name, name, found, **small, **known)
        torch.save({"model": {"threshold": torch.tensor(0.5)}}, written[name] / "models" / "model.pt")
    written["learning"] = write_bundle(
        root / "learning_segmentation", "fedmsa_segmentation", found, **small, model_type=sizes, learning_rate=3e-3,
        batch_size=8, channels={"Organ": [1]},
    )  # fmt: skip
    written["facmic"] = write_bundle(
        root / "facmic_classification", "facmic_classification", {"0": "Dots", "1": "Stripes"}, clip=small_clip,
        image_size=16, learning_rate=0.01, batch_size=8,
    )  # fmt: skip
    original = json.loads((written["facmic"] / "configs" / "inference.json").read_text())
    original["class_names"]["missing"] = ["Dots", "Stripes"]
    (written["facmic"] / "configs" / "inference.json").write_text(json.dumps(original))
    for name in ("learning", "facmic"):
        write_checkpoint(written[name])
    return written


SHAPE = (64, 48, 5)


def pattern() -> np.ndarray:
    """(64, 48, 5), half planes of 100 on 0, of another place and direction in each slice: no flip or turn fits."""
    volume = np.zeros(SHAPE, np.float32)
    for place, (axis, begin, end) in enumerate([(0, 0, 16), (0, 16, 64), (1, 0, 12), (1, 32, 48), (0, 32, 64)]):
        volume[(slice(begin, end), slice(None), place) if axis == 0 else (slice(None), slice(begin, end), place)] = 100
    return volume


def oblique() -> np.ndarray:
    """An affine, voxels to mm RAS: anisotropic, turned about two axes, off the origin."""
    about_z, about_x = np.deg2rad([20, 10])
    turn_z = [[np.cos(about_z), -np.sin(about_z), 0], [np.sin(about_z), np.cos(about_z), 0], [0, 0, 1]]
    turn_x = [[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(turn_z) @ np.array(turn_x) @ np.diag([0.9, 1.3, 6.0])
    affine[:3, 3] = [-31.5, 17.25, 40.125]
    return affine


def write_series(folder: Path, volume: np.ndarray, affine: np.ndarray) -> None:
    """A volume (columns, rows, slices) as a DICOM series; the affine is RAS."""
    folder.mkdir()
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    study, series, frame = (generate_uid() for _ in range(3))
    for place in range(volume.shape[2]):
        dicom = Dataset()
        dicom.SOPClassUID, dicom.Modality, dicom.SOPInstanceUID = MRImageStorage, "MR", generate_uid()
        dicom.StudyInstanceUID, dicom.SeriesInstanceUID, dicom.FrameOfReferenceUID = study, series, frame
        dicom.PatientID, dicom.SeriesNumber, dicom.InstanceNumber = "phantom", 1, place + 1
        dicom.PixelSpacing, dicom.SliceThickness = [round(spacing[1], 6), round(spacing[0], 6)], round(spacing[2], 6)
        dicom.ImageOrientationPatient = [round(value, 12) for value in (lps[:3, :2] / spacing[:2]).T.flatten()]
        dicom.ImagePositionPatient = [round(value, 10) for value in (lps @ [0, 0, place, 1])[:3]]
        dicom.file_meta = FileMetaDataset()
        dicom.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dicom.set_pixel_data(volume[..., place].T.astype(np.uint16), "MONOCHROME2", 12, generate_instance_uid=False)
        dicom.save_as(folder / f"{place}.dcm", enforce_file_format=True)


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NIfTI volume, a DICOM series (a folder, and zipped), pictures; a NIfTI file that is none."""
    folder = tmp_path_factory.mktemp("studies")
    nibabel.save(nibabel.Nifti1Image(pattern(), oblique()), folder / "volume.nii.gz")
    write_series(folder / "series", pattern(), oblique())
    with zipfile.ZipFile(folder / "zipped.zip", "w") as archive:
        for file in sorted((folder / "series").iterdir()):
            archive.write(file, file.name)
    picture = Image.fromarray(np.where(pattern()[..., 3].T > 50, 255, 0).astype(np.uint8))
    picture.save(folder / "picture.png")
    picture.save(folder / "photo.jpg", quality=95)
    (folder / "broken.nii.gz").write_bytes((folder / "volume.nii.gz").read_bytes()[:200])
    return folder


@pytest.fixture(scope="session")
def label(
    processes: None, bundles: dict[str, Path], studies: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Label]:
    """A server of a folder of studies."""
    with serving(studies, bundles.values(), tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def archived(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two series, each a study of its own: one lies along the patient's axes, the other oblique."""
    root = tmp_path_factory.mktemp("archived")
    axial = np.diag([-2.0, -2, 6, 1])
    axial[:3, 3] = [60, 50, -12]
    for name, affine in (("axial", axial), ("oblique", oblique())):
        write_series(root / name, pattern(), affine)
    return {name: root / name for name in ("axial", "oblique")}


@pytest.fixture(scope="session")
def archive_label(
    archive: OrthancServer, bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Label]:
    """A server of the archive's studies, those of MR."""
    served = [bundles[name] for name in ("fedsam_segmentation", "fedmsa_segmentation", "facmic")]
    query = json.dumps({"Modality": "MR"})
    settings = {"MONAI_LABEL_DICOMWEB_SEARCH_FILTER": query, "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": "0"}
    with serving(archive.url, served, tmp_path_factory.mktemp("archive_server"), **settings) as server:
        yield server


@pytest.fixture
def studied(orthanc: OrthancServer, archived: dict[str, Path]) -> OrthancServer:
    """The archive with these two studies and nothing else."""
    for folder in archived.values():
        orthanc.upload(folder)
    return orthanc
