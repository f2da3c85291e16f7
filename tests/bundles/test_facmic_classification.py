"""MONAI's own checks on the FACMIC bundle: its network, its exports, its workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export, create_workflow, onnx_export, verify_net_in_out

from fedmed_networks import FACMIC


def configs(bundle_root: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in (bundle_root / "configs").glob("*.json")}


def test_metadata_agree_with_the_inference_configuration(bundle_root: Path) -> None:
    pred = configs(bundle_root)["metadata.json"]["network_data_format"]["outputs"]["pred"]
    names = configs(bundle_root)["inference.json"]["class_names"]["missing"]
    assert list(pred["channel_def"].values()) == names and pred["num_channels"] == len(names)
    assert bundle_root.name.endswith("_classification")


def test_verify_net_in_out(bundle_root: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle_root / "configs" / "metadata.json"),
        config_file=str(bundle_root / "configs" / "inference.json"),
        device="cpu",
    )


@pytest.fixture
def checkpoint(small_clip: dict[str, Any], tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save({"model": FACMIC(["dots", "stripes"], clip=small_clip).state_dict()}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize("form", ["ts", "onnx"])
def test_exports_answer_as_the_network_does(
    bundle_root: Path, small_clip: dict[str, Any], checkpoint: Path, tmp_path: Path, form: str
) -> None:
    exported = tmp_path / f"model.{form}"
    {"ts": ckpt_export, "onnx": onnx_export}[form](
        net_id="network_def", filepath=str(exported), ckpt_file=str(checkpoint), key_in_ckpt="model",
        meta_file=str(bundle_root / "configs" / "metadata.json"),
        config_file=str(bundle_root / "configs" / "inference.json"),
        input_shape=[1, 3, 16, 16], ckpt_path=str(checkpoint), clip=small_clip,
    )  # fmt: skip
    network = FACMIC(["dots", "stripes"], clip=small_clip).eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = network(image).detach().numpy()
    if form == "ts":
        answer = torch.jit.load(str(exported))(image).detach().numpy()
    else:
        session = onnxruntime.InferenceSession(str(exported))
        answer = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_check_properties(
    bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    common = {
        "bundle_root": str(bundle_root),
        "clip": small_clip,
        "image_size": 16,
        "output_dir": str(tmp_path / "out"),
    }
    train = create_workflow(
        config_file=str(bundle_root / "configs" / "train.json"), workflow_type="train",
        dataset_dir=str(sites_dir / "site_a"), batch_size=8, **common,
    )  # fmt: skip
    assert train.check_properties() == []
    infer = create_workflow(
        config_file=str(bundle_root / "configs" / "inference.json"), workflow_type="infer",
        dataset_dir=str(sites_dir / "unseen"), ckpt_path=str(checkpoint), **common,
    )  # fmt: skip
    assert infer.check_properties() == []
    assert len(train.train_dataset_data) == 20 and len(infer.dataset_data) == 24
