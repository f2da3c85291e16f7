"""A real MONAI Label server on a free port of the loopback interface, small bundles for it, and a folder of studies."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import requests
import torch
from monai.bundle import ConfigParser
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

ROOT = Path(__file__).parents[2]

START_SECONDS, TRAIN_SECONDS = 600, 600


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


class Label:
    """The REST interface of a MONAI Label server."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self.log = url, log

    def infer(self, model: str, image: str = "", output: str = "image", file: Path | None = None, **params: Any) -> Any:
        """The response to a request for inference."""
        sent = {"file": (file.name, file.read_bytes())} if file else None
        query = {"image": image, "output": output}
        form = {"params": json.dumps(params)}
        return requests.post(f"{self.url}/infer/{model}", params=query, data=form, files=sent, timeout=120)

    def scores(self, image: str, **sent: Any) -> dict[str, float]:
        """Class probabilities."""
        answer = self.infer("facmic_classification", image, output="json", **sent)
        assert answer.status_code == 200, self.log.read_text()[-3000:]
        return {entry["label"]: entry["score"] for entry in answer.json()["prediction"]}

    def mask(self, model: str, image: str = "", **sent: Any) -> Any:
        """The NIfTI image that a segmentation answers with."""
        answer = self.infer(model, image, **sent)
        assert answer.status_code == 200, self.log.read_text()[-3000:]
        assert ".nii.gz" in answer.headers["content-disposition"]
        return nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))

    def picture(self, model: str, image: str) -> np.ndarray:
        """The PNG picture that a segmentation answers with: (rows, columns)."""
        answer = self.infer(model, image)
        assert answer.status_code == 200, self.log.read_text()[-3000:]
        assert ".png" in answer.headers["content-disposition"]
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    def add(self, image: Path) -> str:
        """Puts an image into the datastore; returns its name there."""
        answer = requests.put(f"{self.url}/datastore/image", files={"file": (image.name, image.read_bytes())})
        answer.raise_for_status()
        return str(answer.json()["image"])

    def add_label(self, image: str, name: str, content: bytes) -> None:
        """Puts the final label of an image into the datastore."""
        query = {"image": image, "tag": "final"}
        requests.put(f"{self.url}/datastore/label", params=query, files={"label": (name, content)}).raise_for_status()

    def remove(self, image: str) -> None:
        """Takes an image and its labels out of the datastore."""
        requests.delete(f"{self.url}/datastore/image", params={"id": image}).raise_for_status()

    def train(self, model: str, **params: Any) -> dict[str, Any]:
        """Asks for training and waits for its end; returns what the server says of it."""
        asked = requests.post(f"{self.url}/train/{model}", json=params, timeout=60)
        assert asked.status_code == 200
        end = time.monotonic() + TRAIN_SECONDS
        while time.monotonic() < end:
            task: dict[str, Any] = requests.get(f"{self.url}/train/", timeout=60).json()
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                return task
            time.sleep(0.5)
        raise TimeoutError(f"training took more than {TRAIN_SECONDS} seconds: {task}")


@pytest.fixture(scope="session")
def label(bundles: dict[str, Path], studies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Label]:
    """The server, started as ``make label`` starts it."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fedmed_workflows.label_server", "--studies", str(studies), "--port", str(port)]
    command += ["--app", str(folder), *map(str, bundles.values())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(ROOT)])}
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        server = Label(f"http://127.0.0.1:{port}", log)
        _wait(server, process)
        yield server
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait(server: Label, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            requests.get(f"{server.url}/info/", timeout=60).raise_for_status()
            return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise AssertionError(f"the server did not start: {server.log.read_text()[-3000:]}")
