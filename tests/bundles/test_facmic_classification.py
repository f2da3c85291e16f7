"""MONAI's own checks on the bundle's folder, and what it promises as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import (
    ConfigParser,
    ckpt_export,
    create_workflow,
    onnx_export,
    verify_metadata,
    verify_net_in_out,
)

from fedmed_networks import FACMIC

SCHEMA = Path(__file__).parents[1] / "data" / "metadata_schema.json"


def configs(bundle_root: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in (bundle_root / "configs").glob("*.json")}


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["_target_"]] if "_target_" in node else [])
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from targets(child)


def test_the_folder_is_configuration_and_documents_only(bundle_root: Path) -> None:
    kept = ("models", "eval")  # where MONAI's commands put weights and output; not part of the repository
    files = [
        path for path in bundle_root.rglob("*") if path.is_file() and path.relative_to(bundle_root).parts[0] not in kept
    ]
    assert {path.suffix for path in files} <= {".json", ".md", ".yml", ""}
    wanted = {
        "metadata.json",
        "train.json",
        "evaluate.json",
        "inference.json",
        "federated.json",
        "README.md",
        "LICENSE",
        "large_files.yml",
    }
    assert wanted <= {path.name for path in files}


def test_no_configuration_imports_code_and_every_target_is_a_full_path(bundle_root: Path) -> None:
    for name, content in configs(bundle_root).items():
        assert "imports" not in content and not re.search(r"\$\s*import\b|__import__", json.dumps(content)), name
        for target in targets(content):
            assert "." in target and locate(target) is not None, f"{name}: {target}"


def test_keys_that_the_model_zoo_asks_for(bundle_root: Path) -> None:
    train, infer = (
        ConfigParser(configs(bundle_root)["train.json"]),
        ConfigParser(configs(bundle_root)["inference.json"]),
    )
    for key in ("bundle_root", "device", "dataset_dir", "output_dir", "train#trainer", "train#trainer#max_epochs",
                "train#dataset", "train#dataset#data", "train#handlers", "train#preprocessing", "train#inferer",
                "validate#evaluator", "validate#handlers", "validate#dataset", "validate#dataset#data",
                "validate#preprocessing", "validate#inferer", "validate#key_metric", "val_interval"):  # fmt: skip
        assert key in train, key
    for key in ("bundle_root", "device", "network_def", "inferer", "output_dir", "preprocessing", "postprocessing"):
        assert key in infer, key


def test_verify_metadata(bundle_root: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(SCHEMA.read_text())  # a schema that is there already is not downloaded
    verify_metadata(meta_file=str(bundle_root / "configs" / "metadata.json"), filepath=str(schema))
    broken = tmp_path / "metadata.json"
    metadata = configs(bundle_root)["metadata.json"]
    del metadata["network_data_format"]["outputs"]["pred"]
    broken.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(broken), filepath=str(schema))


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
