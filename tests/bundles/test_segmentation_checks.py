"""MONAI's own checks on the segmentation bundles: networks, exports, workflows, metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from monai.bundle import ckpt_export, create_workflow, onnx_export, verify_net_in_out

from fedmed_networks import FedMSA, FedSAM

NETWORKS = {"fedmsa": FedMSA, "fedsam": FedSAM}


def test_verify_net_in_out_at_full_size(segmentation_root: Path) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(segmentation_root / "configs" / "metadata.json"),
        config_file=str(segmentation_root / "configs" / "inference.json"),
        device="cpu",
    )


def test_metadata_suit_monai_label(segmentation_root: Path) -> None:
    formats = json.loads((segmentation_root / "configs" / "metadata.json").read_text())["network_data_format"]
    inference = json.loads((segmentation_root / "configs" / "inference.json").read_text())
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    assert image["spatial_shape"] == [inference["image_size"]] * 2 and image["num_channels"] == 3
    assert pred["channel_def"] == {"0": "background", **{str(k): n for k, n in enumerate(inference["channels"], 1)}}
    assert pred["num_channels"] == len(inference["channels"]) and segmentation_root.name.endswith("_segmentation")


def test_the_published_weights_are_named_with_their_digests(segmentation_root: Path) -> None:
    files = yaml.safe_load((segmentation_root / "large_files.yml").read_text())["large_files"]
    assert {Path(file["path"]).name.split("_")[2] for file in files} == {"b", "l", "h"}
    for file in files:
        assert file["url"].endswith(Path(file["path"]).name) and file["hash_type"] == "sha256"
        assert len(file["hash_val"]) == 64


@pytest.fixture
def checkpoint(method: str, small_sam: dict[str, Any], tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = NETWORKS[method](model_type=small_sam["model_type"], image_size=small_sam["image_size"])
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize("form", ["ts", "onnx"])
def test_exports_answer_as_the_network_does(
    method: str, segmentation_root: Path, small_sam: dict[str, Any], checkpoint: Path, tmp_path: Path, form: str
) -> None:
    exported = tmp_path / f"model.{form}"
    {"ts": ckpt_export, "onnx": onnx_export}[form](
        net_id="network_def", filepath=str(exported), ckpt_file=str(checkpoint), key_in_ckpt="model",
        meta_file=str(segmentation_root / "configs" / "metadata.json"),
        config_file=str(segmentation_root / "configs" / "inference.json"),
        input_shape=[1, 3, 64, 64], use_trace=True, ckpt_path=str(checkpoint), **small_sam,
    )  # fmt: skip
    network = NETWORKS[method](model_type=small_sam["model_type"], image_size=64).eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = network(image).detach().numpy()
    if form == "ts":
        answer = torch.jit.load(str(exported))(image).detach().numpy()
    else:
        session = onnxruntime.InferenceSession(str(exported))
        answer = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_check_properties(
    segmentation_root: Path, organ_sites: Path, small_sam: dict[str, Any], organ: dict[str, Any], checkpoint: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    common = {"bundle_root": str(segmentation_root), "output_dir": str(tmp_path / "out"), **small_sam}
    train = create_workflow(
        config_file=str(segmentation_root / "configs" / "train.json"), workflow_type="train",
        dataset_dir=str(organ_sites / "hillside"), **organ, **common,
    )  # fmt: skip
    assert train.check_properties() == []
    infer = create_workflow(
        config_file=str(segmentation_root / "configs" / "inference.json"), workflow_type="infer",
        dataset_dir=str(organ_sites / "unseen" / "images"), ckpt_path=str(checkpoint), **common,
    )  # fmt: skip
    assert infer.check_properties() == []
    assert len(train.train_dataset_data) == 3 and len(train.train_dataset) == 18 and len(infer.dataset_data) == 4


def test_the_bundles_differ_in_their_method_alone() -> None:
    roots = [Path(__file__).parents[2] / "bundles" / f"{method}_segmentation" for method in NETWORKS]
    recipes = [{path.name: path.read_text() for path in (root / "configs" / "recipes").iterdir()} for root in roots]
    assert recipes[0] == recipes[1] and len(recipes[0]) == 5
    for name in ("train.json", "evaluate.json", "inference.json", "federated.json"):
        texts = [(root / "configs" / name).read_text() for root in roots]
        alike = texts[0].replace("fedmsa", "fedsam").replace("FedMSA", "FedSAM")
        lines = [line for line in alike.splitlines() if "window_padding" not in line]
        assert lines == texts[1].splitlines(), name
