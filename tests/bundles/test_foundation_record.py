"""Log, report, run record and model card of a run name the same weights: those that were loaded."""

from __future__ import annotations

import hashlib
import html
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow
from safetensors.torch import save_file

from fedmed_networks.clip.foundation import shared_clip

CARD = "MODEL_CARD.md"


def run(entries: dict[str, Any], clip: Any, weights: str | None) -> Path:
    facmic = {**entries["facmic"], "clip": clip, "weights": weights}
    create_workflow(**{**entries, "rounds": 1, "facmic": facmic}).run()
    return Path(entries["output_dir"])


@pytest.mark.parametrize("source", ["file", "local-dir"])
def test_loaded_weights_are_named_everywhere(
    federated: dict[str, Any], small_clip: dict[str, Any], tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tiny").mkdir()
    file = tmp_path / "tiny" / "open_clip_model.safetensors"
    state = shared_clip(small_clip).model.state_dict()
    save_file({name: value * 1.5 if value.is_floating_point() else value for name, value in state.items()}, file)
    (tmp_path / "tiny" / "open_clip_config.json").write_text(json.dumps({"model_cfg": small_clip}))
    named = (small_clip, str(file)) if source == "file" else (f"local-dir:{tmp_path / 'tiny'}", None)
    caplog.clear()
    with caplog.at_level(logging.INFO, "fedmed_networks"):
        folder = run(federated, *named)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    record = json.loads((folder / "run.json").read_text())
    weights = record["foundation_weights"]
    assert (weights["file"], weights["file_sha256"]) == (file.name, digest)
    assert weights == json.loads((folder / "metrics.json").read_text())["foundation_weights"]
    tensors = weights["tensors_sha256"]
    for text in (caplog.text, html.unescape((folder / "report.html").read_text()), (folder / CARD).read_text()):
        assert digest in text and tensors in text and "random weights" not in text
    assert not any("random weights" in note for note in record["notes"])


def test_random_weights_are_named_everywhere(
    federated: dict[str, Any], small_clip: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    shallow = {**small_clip, "text_cfg": {**small_clip["text_cfg"], "context_length": 60}}  # one that no test built
    folder = run(federated, shallow, None)
    record = json.loads((folder / "run.json").read_text())
    assert record["foundation_weights"]["source"].startswith("random, seed ")
    for text in (caplog.text, (folder / "report.html").read_text(), (folder / CARD).read_text()):
        assert "CLIP has random weights (seed " in text
