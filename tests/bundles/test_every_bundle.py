"""Tests the files and the promised texts in every bundle's folder, and MONAI's check of its metadata."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest
from monai.bundle import ConfigParser, verify_metadata

from fedmed_workflows.federation.bundle.needed_packages import needed_packages, targets_of

BUNDLES = sorted((Path(__file__).parents[2] / "bundles").iterdir())

SCHEMA = Path(__file__).parents[1] / "data" / "metadata_schema.json"


@pytest.fixture(params=BUNDLES, ids=lambda path: str(path.name))
def bundle_root(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def configs(bundle_root: Path) -> dict[str, Any]:
    folder = bundle_root / "configs"
    return {path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in folder.rglob("*.json")}


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
        for target in targets_of(content):
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


def test_inference_is_the_same_in_every_bundle_but_for_what_it_writes(bundle_root: Path) -> None:
    first, own = (configs(root)["inference.json"] for root in (BUNDLES[0], bundle_root))
    shared = ("bundle_root", "dicomweb", "study", "series_rules", "algorithm", "dataset", "dataloader", "ckpt_loader",
              "handlers", "evaluator", "run")  # fmt: skip
    for key in shared:
        expected = json.loads(json.dumps(first[key]).replace(BUNDLES[0].name, bundle_root.name))
        assert own[key] == expected, key
    loader, results, store, refused = own["handlers"]
    assert (loader, results) == ("%ckpt_loader", "@results")
    assert [handler["_target_"] for handler in (own["ckpt_loader"], store, refused)] == [
        "fedmed_workflows.NamedCheckpointLoader", "fedmed_workflows.StoredResults",
        "fedmed_workflows.RefusedStudies",
    ]  # fmt: skip


def test_metadata_list_the_versions_of_what_the_bundle_needs(bundle_root: Path) -> None:
    metadata = configs(bundle_root)["metadata.json"]
    foundation = {"facmic": {"open_clip_torch"}}.get(bundle_root.name.split("_")[0], {"segment_anything", "timm"})
    listed = metadata["required_packages_version"]
    assert {"fedmed", "pytorch-ignite", "safetensors", *foundation} <= set(listed)
    assert ("peft" in listed) == (bundle_root / "configs" / "methods" / "lora.json").is_file()
    assert listed["fedmed"] == version("fedmed") and all(version(name) for name in listed)
    assert needed_packages(configs(bundle_root).values()) == {}  # all others come with FedMed
    numbers = [metadata[name] for name in ("monai_version", "pytorch_version", "numpy_version")]
    assert all(re.fullmatch(r"\d+(\.\d+)+", number) for number in [*numbers, *listed.values()])


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
