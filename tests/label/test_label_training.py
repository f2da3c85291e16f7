"""Training through MONAI Label: a bundle's weights improve, and what it learnt is served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest


@pytest.fixture
def organs(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """By patient: a volume with a bright box in it, and the box."""
    random = np.random.default_rng(0)
    written = {}
    for patient in range(6):
        label = np.zeros((64, 64, 4), np.uint8)
        left, low = random.integers(4, 28, 2)
        label[left : left + 28, low : low + 24, 1:] = 1
        image = (random.normal(20, 3, label.shape) + 60 * label).astype(np.float32)
        files = (tmp_path / f"patient_{patient}.nii.gz", tmp_path / f"label_{patient}.nii.gz")
        for file, values in zip(files, (image, label), strict=True):
            nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 4.0, 1.0])), file)
        written[f"patient_{patient}"] = files
    return written


@pytest.fixture
def stored(label: Any) -> Iterator[list[str]]:
    """Images that a test put into the server's datastore: afterwards they are out of it again."""
    names: list[str] = []
    yield names
    for name in names:
        label.remove(name)


def mean_dice(label: Any, organs: dict[str, tuple[Path, Path]]) -> float:
    scores = []
    for name, (_, file) in organs.items():
        mask = np.asarray(label.mask("learning_segmentation", name).dataobj) == 1
        expected = np.asarray(nibabel.load(file).dataobj) == 1
        scores.append(2 * np.sum(mask & expected) / (mask.sum() + expected.sum()))
    return float(np.mean(scores))


def test_a_segmentation_learns_from_the_labels_in_the_datastore(
    label: Any, bundles: dict[str, Path], organs: dict[str, tuple[Path, Path]], stored: list[str]
) -> None:
    for name, (image, file) in organs.items():
        stored.append(label.add(image))
        label.add_label(name, file.name, file.read_bytes())
    before, weights = mean_dice(label, organs), (bundles["learning"] / "models" / "model.pt").read_bytes()
    task = label.train("learning_segmentation", max_epochs=30)
    assert task["status"] == "DONE", task
    assert (bundles["learning"] / "models" / "model.pt").read_bytes() != weights
    after = mean_dice(label, organs)
    print(f"Dice before training {before:.3f}, after {after:.3f}")
    assert after > 0.8 > 0.5 > before


def test_a_classification_learns_from_the_classes_in_the_datastore(
    label: Any, bundles: dict[str, Path], sites_dir: Path, stored: list[str], tmp_path: Path
) -> None:
    """Labels in both forms: a class by its name, and MONAI Label's own answer as a reader has set it right."""
    classes = {}
    files = sorted((sites_dir / "site_a").rglob("*.png"), key=lambda file: (file.name, file.parent.name))
    for number, file in enumerate(files):  # both classes in turn: MONAI Label validates by the last fifth
        name = file.parent.name
        image = tmp_path / f"{name}-{file.name}"
        image.write_bytes(file.read_bytes())
        stored.append(label.add(image))
        classes[stored[-1]] = name
        answer = [{"label": other, "score": float(other == name)} for other in ("dots", "stripes")]
        content = {"prediction": answer} if number % 2 else {"label": name}
        label.add_label(stored[-1], "class.json", json.dumps(content).encode())
    before = right(label, classes)
    task = label.train("facmic_classification", max_epochs=30)
    assert task["status"] == "DONE", task
    after = right(label, classes)
    print(f"accuracy before training {before:.3f}, after {after:.3f}")
    assert after > 0.8 > 0.5 > before


def right(label: Any, classes: dict[str, str]) -> float:
    answers = {image: label.scores(image) for image in classes}
    return float(np.mean([max(answers[image], key=answers[image].get) == name for image, name in classes.items()]))
