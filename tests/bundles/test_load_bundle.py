"""`monai.bundle.load` with a trained bundle's name and folder gives the trained network, as for bundles of the zoo."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
from monai.bundle import create_workflow

from fedmed_networks import FACMIC


def trained_bundle(entries: dict[str, Any], folder: Path) -> Path:
    """The trained bundle of a short run, at another place."""
    create_workflow(**{**entries, "rounds": 1}).run()
    (bundle,) = (Path(entries["output_dir"]) / "bundle").iterdir()
    return Path(shutil.move(bundle, folder / bundle.name))


def check_loaded(bundle: Path, elsewhere: Path, **options: Any) -> torch.nn.Module:
    """Loads a bundle from another working folder, and compares all tensors with those of its file."""
    before = Path.cwd()
    os.chdir(elsewhere)
    try:
        network = monai.bundle.load(bundle.name, bundle_dir=str(bundle.parent), device="cpu", **options)
    finally:
        os.chdir(before)
    assert isinstance(network, torch.nn.Module)
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    found = network.state_dict()
    assert set(found) == set(state) and all(torch.equal(found[name], value) for name, value in state.items())
    return network


@pytest.mark.parametrize("options", [{}, {"workflow_type": "inference"}])
def test_a_classification(federated: dict[str, Any], tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "elsewhere").mkdir()
    network = check_loaded(trained_bundle(federated, tmp_path), tmp_path / "elsewhere", **options)
    assert isinstance(network, FACMIC) and network.class_names == ["dots", "stripes"]


def test_a_segmentation(federation: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    federation["recipe"] = {**federation["recipe"], "channels": {"organ": [1], "anything": "nonzero"}}
    bundle = trained_bundle(federation, tmp_path)
    for options in ({}, {"workflow_type": "inference"}):
        network = check_loaded(bundle, tmp_path / "elsewhere", **options)
        assert network.num_classes == 2


def test_the_weights_that_training_started_from_are_not_needed(
    federated: dict[str, Any], small_clip: dict[str, Any], tmp_path: Path
) -> None:
    from fedmed_networks.clip.foundation import shared_clip

    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "start.pt"
    torch.save(shared_clip(small_clip).model.state_dict(), file)
    bundle = trained_bundle({**federated, "facmic": {**federated["facmic"], "weights": str(file)}}, tmp_path)
    file.unlink()
    check_loaded(bundle, tmp_path / "elsewhere")
