"""One site by the bundle's commands: training with tracking, evaluation, inference on a clinic's files."""

from __future__ import annotations

import csv
import json
import sqlite3
import traceback
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import run
from PIL import Image
from pydicom.uid import generate_uid

from fedmed_networks import FACMIC
from fedmed_transforms.simulation import phantoms


@pytest.fixture(scope="module")
def trained(
    bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Output of five epochs at one site, with the standard tracking."""
    folder = tmp_path_factory.mktemp("trained")
    run(config_file=str(bundle_root / "configs" / "train.json"), bundle_root=str(bundle_root), tracking="mlflow",
        dataset_dir=str(sites_dir / "site_a"), output_dir=str(folder), ckpt_dir=str(folder), epochs=5, batch_size=8,
        clip=small_clip, image_size=16, learning_rate=0.01)  # fmt: skip
    return folder


def test_training_writes_checkpoint_tensorboard_and_tracking(trained: Path, small_clip: dict[str, Any]) -> None:
    network = FACMIC(["dots", "stripes"], clip=small_clip)
    before = network.attention[0].weight.clone()
    state = torch.load(trained / "model.pt", weights_only=True)
    network.load_state_dict(state.get("model", state))
    assert not torch.equal(network.attention[0].weight, before)
    assert list(trained.glob("events.out.tfevents.*"))
    with sqlite3.connect(trained / "mlruns.db") as database:
        keys = {key for (key,) in database.execute("select distinct key from metrics")}
    assert {"train_loss", "val_accuracy"} <= keys


def test_evaluation_of_the_checkpoint(
    trained: Path, bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path: Path
) -> None:
    names = [str(bundle_root / "configs" / name) for name in ("train.json", "evaluate.json")]
    run(config_file=names, bundle_root=str(bundle_root), ckpt_path=str(trained / "model.pt"), output_dir=str(tmp_path),
        dataset_dir=str(sites_dir / "site_b"), batch_size=8, clip=small_clip, image_size=16)  # fmt: skip
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["images"] == 2 and score["class_names"] == ["dots", "stripes"]
    assert np.sum(score["confusion"]) == 2
    for metric in score["metrics"].values():
        assert metric["low"] is None or metric["low"] <= metric["value"] <= metric["high"]


def test_inference_on_pictures_dicom_and_volumes(
    trained: Path, bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path: Path
) -> None:
    files = clinic_files(sites_dir, tmp_path / "study")
    run(config_file=str(bundle_root / "configs" / "inference.json"), bundle_root=str(bundle_root), clip=small_clip,
        ckpt_path=str(trained / "model.pt"), dataset_dir=str(tmp_path / "study"), output_dir=str(tmp_path / "out"),
        image_size=16)  # fmt: skip
    answers = {Path(row["image"]).name: row for row in json.loads((tmp_path / "out" / "predictions.json").read_text())}
    assert set(answers) == files
    for row in answers.values():
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
    slices = [answers[name]["probabilities"]["dots"] for name in ("slice_0.nii", "slice_1.nii")]
    assert answers["volume.nii.gz"]["probabilities"]["dots"] == pytest.approx(np.mean(slices), abs=1e-4)
    with (tmp_path / "out" / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {Path(row["image"]).name: float(row["dots"]) for row in table} == {
        name: row["probabilities"]["dots"] for name, row in answers.items()
    }


def clinic_files(sites_dir: Path, folder: Path) -> set[str]:
    """A jpg, a png, a DICOM file, a NIfTI volume of two slices, and each slice as a volume of its own."""
    folder.mkdir()
    picture = Image.open(sites_dir / "unseen" / "dots" / "0.png")
    picture.save(folder / "picture.png")
    picture.save(folder / "picture.jpg")
    phantoms.write_sites(folder.parent / "phantoms", images_per_class=2)
    image = min((folder.parent / "phantoms" / "unseen").rglob("*.dcm"))
    (folder / "image.dcm").write_bytes(image.read_bytes())
    volume = (
        np.random.default_rng(0).integers(0, 2, (20, 24, 2)).astype(np.uint8)
    )  # 0 and 1 in every slice: one scaling
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    for name, part in (("volume.nii.gz", volume), ("slice_0.nii", volume[..., :1]), ("slice_1.nii", volume[..., 1:])):
        nibabel.save(nibabel.Nifti1Image(part, affine), folder / name)
    return {"picture.png", "picture.jpg", "image.dcm", "volume.nii.gz", "slice_0.nii", "slice_1.nii"}


def test_a_checkpoint_of_other_classes_is_refused_by_name(
    trained: Path, bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as refused:
        run(config_file=str(bundle_root / "configs" / "inference.json"), bundle_root=str(bundle_root), clip=small_clip,
            ckpt_path=str(trained / "model.pt"), dataset_dir=str(sites_dir / "unseen"),
            output_dir=str(tmp_path / "out"),
            image_size=16, class_names=["stripes", "dots"])  # fmt: skip
    cause = str(refused.value.__cause__)
    assert "model.pt" in cause and "['dots', 'stripes']" in cause and "['stripes', 'dots']" in cause
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_a_number_ends_training_by_name(
    bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as ended:
        run(config_file=str(bundle_root / "configs" / "train.json"), bundle_root=str(bundle_root), clip=small_clip,
            dataset_dir=str(sites_dir / "site_a"), output_dir=str(tmp_path), ckpt_dir=str(tmp_path), epochs=5,
            batch_size=8, image_size=16, learning_rate=1e30)  # fmt: skip
    assert "the loss became nan in step" in str(ended.value.__cause__)


def test_an_irregular_series_is_refused_and_a_rule_lets_it_in(
    trained: Path, bundle_root: Path, small_clip: dict[str, Any], tmp_path: Path
) -> None:
    """A slice is missing in it."""
    phantoms.write_sites(tmp_path / "phantoms", images_per_class=2)
    series = tmp_path / "study" / "series"
    series.mkdir(parents=True)
    for number, position in enumerate((0.0, 5.0, 15.0)):
        dicom = pydicom.dcmread(min((tmp_path / "phantoms" / "unseen").rglob("*.dcm")))
        dicom.ImagePositionPatient, dicom.InstanceNumber = [0.0, 0.0, position], number + 1
        dicom.SOPInstanceUID = generate_uid()
        dicom.save_as(series / f"{number}.dcm")
    inference: dict[str, Any] = {
        "config_file": str(bundle_root / "configs" / "inference.json"), "bundle_root": str(bundle_root),
        "clip": small_clip, "ckpt_path": str(trained / "model.pt"), "dataset_dir": str(tmp_path / "study"),
        "output_dir": str(tmp_path / "out"), "image_size": 16,
    }  # fmt: skip
    with pytest.raises(RuntimeError) as error:
        run(**inference)
    assert "expected evenly spaced slices" in "".join(traceback.format_exception(error.value))
    run(**inference, series_rules={"uneven": "resample"})
    (answer,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert Path(answer["image"]) == series
