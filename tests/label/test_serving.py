"""Tests the REST answers of MONAI Label with the three bundles: their content, in the geometry of the source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import requests
from monai.bundle import run

from fedmed_transforms import load_image

SEGMENTATIONS = ["fedsam_segmentation", "fedmsa_segmentation"]


def dice(mask: np.ndarray, expected: np.ndarray) -> float:
    return float(2 * np.sum(mask & expected) / (mask.sum() + expected.sum()))


def test_info_names_the_bundles_and_what_they_find(label: Any, bundles: dict[str, Path]) -> None:
    info = requests.get(f"{label.url}/info/").json()
    assert set(info["models"]) == set(info["trainers"]) == {folder.name for folder in bundles.values()}
    for name in SEGMENTATIONS:
        model = info["models"][name]
        assert (model["type"], model["dimension"], model["labels"]) == ("segmentation", 2, {"organ": 1})
    model = info["models"]["facmic_classification"]
    assert (model["type"], model["labels"]) == ("classification", {"dots": 0, "stripes": 1})


@pytest.mark.parametrize("model", SEGMENTATIONS)
@pytest.mark.parametrize("source", ["volume", "series", "zipped", "sent"])
def test_the_mask_of_a_volume_lies_where_the_volume_lies(label: Any, studies: Path, model: str, source: str) -> None:
    """A NIfTI volume by its name, a DICOM series by its folder, zipped by its name, and sent along."""
    series = studies / "series"
    asked = {"volume": {"image": "volume"}, "series": {"image": str(series)}, "zipped": {"image": "zipped"}}
    mask = label.mask(model, **asked.get(source, {"file": studies / "zipped.zip"}))
    image = nibabel.load(studies / "volume.nii.gz")
    expected = np.asarray(image.dataobj) > 50
    affine = image.affine if source == "volume" else load_image(series).affine.numpy()
    values = np.asarray(mask.dataobj)
    assert mask.get_data_dtype() == np.uint8 and set(np.unique(values)) == {0, 1}
    assert dice(values == 1, expected) == 1.0
    assert np.abs(mask.affine - affine).max() < 1e-5
    assert np.abs(mask.affine - image.affine).max() < 1e-4  # the series says positions in decimals


@pytest.mark.parametrize("model", SEGMENTATIONS)
def test_the_mask_of_a_picture_is_a_lossless_picture(label: Any, studies: Path, model: str) -> None:
    volume = np.asarray(nibabel.load(studies / "volume.nii.gz").dataobj)
    for name in ("picture", "photo"):
        mask = label.picture(model, name)
        assert mask.shape == (48, 64) and dice(mask == 1, volume[..., 3].T > 50) == 1.0
        assert set(np.unique(mask)) == {0, 1}


def test_a_request_may_name_another_format(label: Any, studies: Path) -> None:
    answer = label.infer(SEGMENTATIONS[0], "volume", result_extension=".nrrd")
    assert answer.status_code == 200 and answer.content.startswith(b"NRRD")


def test_a_classification_answers_what_the_bundle_alone_does(
    label: Any, studies: Path, bundles: dict[str, Path], tmp_path: Path
) -> None:
    """By MONAI's command on the same files: a NIfTI volume, a DICOM series, pictures."""
    root = bundles["facmic"]
    images = [studies / name for name in ("volume.nii.gz", "series", "picture.png", "photo.jpg")]
    run(config_file=str(root / "configs" / "inference.json"), bundle_root=str(root), device="cpu",
        dataset_dir=[str(image) for image in images], output_dir=str(tmp_path))  # fmt: skip
    answers = json.loads((tmp_path / "predictions.json").read_text())
    alone = {answer["image"]: answer["probabilities"] for answer in answers}
    assert set(alone) == {str(image) for image in images}
    for image in images:
        scores = label.scores(str(image) if image.is_dir() else image.name.split(".")[0])
        assert scores == pytest.approx({name.lower(): value for name, value in alone[str(image)].items()})
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
