"""One site by the segmentation bundles' commands: training with tracking, evaluation, inference on a clinic's files."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import run
from PIL import Image

from fedmed_networks import FedMSA
from fedmed_transforms import SegmentationToLabelsd, load_image
from tests.bright_network import Bright

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")


@pytest.fixture
def entries(
    segmentation_root: Path, organ_sites: Path, small_sam: dict[str, Any], organ: dict[str, Any], tmp_path: Path
) -> dict[str, Any]:
    return {
        "bundle_root": str(segmentation_root), "dataset_dir": str(organ_sites / "hillside"), "device": "cpu",
        "output_dir": str(tmp_path / "out"), "batch_size": 8, "patient_pattern": organ["patient_pattern"], **small_sam,
        "channels": organ["channels"],
    }  # fmt: skip


def configs(root: Path, *names: str) -> list[str]:
    return [str(root / "configs" / name) for name in names]


def test_training_then_evaluation_then_inference(
    entries: dict[str, Any], segmentation_root: Path, organ_sites: Path, tmp_path: Path
) -> None:
    run(config_file=configs(segmentation_root, "train.json"), tracking="mlflow", ckpt_dir=str(tmp_path / "models"),
        epochs=2, learning_rate=1e-3, **entries)  # fmt: skip
    checkpoint = tmp_path / "models" / "model.pt"
    assert checkpoint.is_file() and list((tmp_path / "out").glob("events.out.tfevents.*"))
    with sqlite3.connect(tmp_path / "out" / "mlruns.db") as database:
        keys = {key for (key,) in database.execute("select distinct key from metrics")}
    assert {"train_loss", "val_mean_dice", "dice", "iou"} <= keys

    judged = {**entries, "output_dir": str(tmp_path / "score"), "dataset_dir": str(organ_sites / "harbour")}
    run(config_file=configs(segmentation_root, "train.json", "evaluate.json"), ckpt_path=str(checkpoint), **judged)
    score = json.loads((tmp_path / "score" / "score.json").read_text())
    assert score["images"] == 1 and score["slices"] == 6 and score["class_names"] == ["organ"]
    assert {"dice", "iou", "hd95", "surface_dice", "slice_dice", "published_dice"} <= set(score["metrics"])

    answered = {**entries, "output_dir": str(tmp_path / "masks"), "dataset_dir": str(organ_sites / "unseen" / "images")}
    answered.pop("patient_pattern")
    run(config_file=configs(segmentation_root, "inference.json"), ckpt_path=str(checkpoint), **answered)
    assert len(list((tmp_path / "masks").glob("*_seg.nii.gz"))) == 4


def study(folder: Path, organ_sites: Path) -> dict[str, Path]:
    """A NIfTI volume with a turned affine, a DICOM series, a single DICOM slice, a jpg and a png; each half bright."""
    folder.mkdir()
    half = np.zeros((64, 64, 4), np.float32)
    half[:32] = 100
    turned = np.array([[0, -1.5, 0, 20], [2, 0, 0, -7], [0, 0, 6, 3], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(half, turned), folder / "volume.nii.gz")
    picture = np.zeros((64, 64), np.uint8)
    picture[:, :32] = 255
    Image.fromarray(picture).save(folder / "a.png")
    Image.fromarray(picture).save(folder / "b.jpg", quality=95)
    series = min((organ_sites / "harbour" / "images").iterdir())
    shutil.copytree(series, folder / "series")
    for file in (folder / "series").iterdir():
        dicom = pydicom.dcmread(file)
        pixels = np.zeros((64, 64), np.uint16)
        pixels[:, :32] = 1000
        dicom.set_pixel_data(pixels, "MONOCHROME2", 12, generate_instance_uid=False)
        dicom.PixelSpacing = [2.0, 2.0]
        dicom.save_as(file)
    dicom.StudyInstanceUID, dicom.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dicom.save_as(folder / "slice.dcm")
    return {"volume": folder / "volume.nii.gz", "series": folder / "series", "slice": folder / "slice.dcm"}


@pytest.mark.parametrize("method", ["fedmsa"], indirect=True)
def test_masks_lie_where_the_images_lie(
    entries: dict[str, Any], segmentation_root: Path, organ_sites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = study(tmp_path / "study", organ_sites)
    monkeypatch.setattr(FedMSA, "forward", Bright.forward)
    network = FedMSA(model_type=entries["model_type"], image_size=64)
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    asked = {**entries, "dataset_dir": str(tmp_path / "study"), "ckpt_path": str(tmp_path / "model.pt")}
    asked.pop("patient_pattern")
    run(config_file=configs(segmentation_root, "inference.json"), **asked)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "volume_seg.nii.gz", "series_seg.dcm", "series_seg.nii.gz", "slice_seg.dcm", "slice_seg.nii.gz",
        "a_seg.png", "b_seg.png", "results.csv",
    }  # fmt: skip
    image, mask = (nibabel.load(path) for path in (paths["volume"], out / "volume_seg.nii.gz"))
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(image.dataobj) > 50)
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-5)
    for name in ("series", "slice"):
        source, segments = load_image(paths[name]), load_image(out / f"{name}_seg.dcm")
        label = SegmentationToLabelsd("label", "image")({"image": source, "label": segments})["label"]
        assert torch.equal(label.as_tensor() == 1, source.as_tensor() > 500)
        torch.testing.assert_close(label.affine, source.affine, atol=1e-5, rtol=0)
        volume = load_image(out / f"{name}_seg.nii.gz")
        assert torch.equal(volume.as_tensor() == 1, source.as_tensor() > 500)
        torch.testing.assert_close(volume.affine, source.affine, atol=1e-5, rtol=0)
    for name in "ab":
        assert np.array_equal(np.asarray(Image.open(out / f"{name}_seg.png"))[:, [0, 63]], [[255, 0]] * 64)


@pytest.mark.parametrize("method", ["fedmsa"], indirect=True)
@pytest.mark.parametrize(
    "made, asked, named",
    [
        pytest.param({"num_classes": 2}, {}, "num_classes 1", id="another class count"),
        pytest.param({"width": 16}, {}, "other shapes", id="another model type"),
        pytest.param({}, {"image_size": 128}, "image_size 128", id="another image size"),
        pytest.param({"only": "Adapter"}, {}, "lacks", id="the frozen part is missing"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_by_name(
    entries: dict[str, Any], segmentation_root: Path, organ_sites: Path, tmp_path: Path,
    made: dict[str, Any], asked: dict[str, Any], named: str,
) -> None:  # fmt: skip
    sizes = {**entries["model_type"], **({"width": made["width"]} if "width" in made else {})}
    network = FedMSA(num_classes=made.get("num_classes", 1), model_type=sizes, image_size=64)
    state = {name: value for name, value in network.state_dict().items() if made.get("only", "") in name}
    torch.save({"model": state}, tmp_path / "model.pt")
    given = {**entries, "dataset_dir": str(organ_sites / "unseen" / "images"), **asked}
    given.pop("patient_pattern")
    with pytest.raises(RuntimeError) as refused:
        run(config_file=configs(segmentation_root, "inference.json"), ckpt_path=str(tmp_path / "model.pt"), **given)
    cause = str(refused.value.__cause__)
    assert str(tmp_path / "model.pt") in cause and named in cause
    assert not (tmp_path / "out").exists()
