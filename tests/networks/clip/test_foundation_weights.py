"""The record of a CLIP's weights states what was loaded, wherever the weights came from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fedmed_networks import FACMIC, FineTunedCLIP
from fedmed_networks.clip.foundation import RANDOM_SEED, shared_clip
from fedmed_networks.weights import module_digest
from tests.networks.clip.test_shared_clip import END_SECONDS, other_weights  # noqa: F401


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_of(small_clip: dict[str, Any], folder: Path, state: dict[str, torch.Tensor] | None) -> Path:
    """A model as open_clip keeps it on the hub and in folders."""
    folder.mkdir(parents=True)
    content = {"model_cfg": small_clip, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    if state is not None:
        save_file(state, folder / "open_clip_model.safetensors")
    return folder


def test_random_weights_name_their_seed(small_clip: dict[str, Any]) -> None:
    record = FACMIC(["a", "b"], small_clip).foundation_weights
    assert record.random and record.source == f"random, seed {RANDOM_SEED}" and record.file_sha256 is None
    assert record.tensors_sha256 == module_digest(shared_clip(small_clip).model)
    assert str(record) == f"CLIP has random weights (seed {RANDOM_SEED})"


def test_a_file_is_named_with_the_digests_of_its_bytes_and_tensors(
    small_clip: dict[str, Any], other_weights: dict[str, torch.Tensor], tmp_path: Path  # noqa: F811
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(other_weights, path)
    record = FineTunedCLIP(["a", "b"], small_clip, path).foundation_weights
    assert (record.source, record.file, record.file_sha256) == ("file mine.safetensors", path.name, sha256(path))
    model = shared_clip(small_clip, path).model
    assert all(torch.equal(value, other_weights[name]) for name, value in model.state_dict().items())
    assert record.tensors_sha256 == module_digest(model) and str(tmp_path) not in json.dumps(record.to_json())


def test_a_folder_brings_its_weights_and_a_file_beside_it_is_refused(
    small_clip: dict[str, Any], other_weights: dict[str, torch.Tensor], tmp_path: Path,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder = folder_of(small_clip, tmp_path / "tiny", other_weights)
    clip = shared_clip(f"local-dir:{folder}")
    assert all(torch.equal(value, other_weights[name]) for name, value in clip.model.state_dict().items())
    assert (clip.weights.source, clip.weights.file) == ("local-dir:tiny", "open_clip_model.safetensors")
    assert clip.weights.file_sha256 == sha256(folder / "open_clip_model.safetensors")
    assert "random" not in caplog.text
    save_file(other_weights, tmp_path / "mine.safetensors")
    for named in (str(tmp_path / "mine.safetensors"), "openai"):
        with pytest.raises(ValueError, match=f"weights '{re.escape(named)}' of CLIP local-dir:.*would be ignored"):
            shared_clip(f"local-dir:{folder}", named)


def test_a_folder_without_weights_is_recorded_as_random(
    small_clip: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(small_clip, tmp_path / "bare", None)
    assert shared_clip(f"local-dir:{folder}").weights.source == f"random, seed {RANDOM_SEED}"
    assert "CLIP has random weights" in caplog.text


HUB = """
import json, sys
import open_clip
from fedmed_networks.clip.foundation import shared_clip
from open_clip import pretrained
small = json.loads(sys.argv[1])
name = shared_clip(small).weights.name
pretrained._PRETRAINED[name] = {"tiny": pretrained._pcfg(hf_hub="nobody/tiny/")}
found = [shared_clip("hf-hub:nobody/tiny").weights, shared_clip(small, "tiny").weights]
print(json.dumps([record.to_json() for record in found]))
try:
    shared_clip("hf-hub:nobody/bare")
except ValueError as error:
    print(error)
"""


def test_the_hub_and_tags_name_the_file_that_was_downloaded(
    small_clip: dict[str, Any], other_weights: dict[str, torch.Tensor], tmp_path: Path  # noqa: F811
) -> None:
    """The models lie in the cache of the hub's own client, which asks nobody."""
    for name, state in (("tiny", other_weights), ("bare", None)):
        cache = tmp_path / "hub" / f"models--nobody--{name}"
        folder_of(small_clip, cache / "snapshots" / ("a" * 40), state)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text("a" * 40)
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", HUB, json.dumps(small_clip)], env=environment, capture_output=True, text=True,
        timeout=END_SECONDS,
    )  # fmt: skip
    records, refusal = ran.stdout.splitlines()[-2:]
    digest = sha256(tmp_path / "hub" / "models--nobody--tiny/snapshots" / ("a" * 40) / "open_clip_model.safetensors")
    hub, tag = json.loads(records)
    assert [hub["source"], tag["source"]] == ["hf-hub:nobody/tiny", "tag tiny"], ran.stderr
    assert hub["file_sha256"] == tag["file_sha256"] == digest and hub["tensors_sha256"] == tag["tensors_sha256"]
    assert "hf-hub:nobody/bare" in refusal  # the name stands for weights, and there are none
