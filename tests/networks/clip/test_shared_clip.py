"""CLIP foundations: from a name, a configuration or a file, the same in every process, and refused by name."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fedmed_networks.clip.foundation import shared_clip
from fedmed_networks.weights import module_digest
from tests.waiting import END_SECONDS


def changed(config: dict[str, Any], section: str, **values: Any) -> dict[str, Any]:
    return {**config, section: {**config[section], **values}}


@pytest.fixture(scope="module")
def other_weights(small_clip: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of the small CLIP that are not those of the fixed seed."""
    random = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(value.shape, generator=random) if value.is_floating_point() else value.clone()
        for name, value in shared_clip(small_clip).model.state_dict().items()
    }


def test_prompts_are_embedded_once(small_clip: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    clip, texts = shared_clip(small_clip), ["a picture of a kidney", "a picture of a lung"]
    expected, first = clip.embed_prompts(texts), clip.shared_prompts(texts)
    first.zero_()  # whoever asked may do with it as they like
    monkeypatch.setattr(clip.model, "encode_text", lambda *_, **__: pytest.fail("embedded again"))
    assert torch.equal(clip.shared_prompts(texts), expected)


def test_a_configuration(small_clip: dict[str, Any]) -> None:
    clip = shared_clip(small_clip)
    assert clip.dim == 16
    assert clip.visual(torch.zeros(2, 3, 16, 16)).shape == (2, 16)
    prompts = clip.embed_prompts(["a picture of a cat", "a picture of a dog"])
    torch.testing.assert_close(prompts.norm(dim=1), torch.ones(2))
    assert prompts.dtype == torch.float32 and not prompts.requires_grad
    assert clip.scale == pytest.approx(float(clip.model.logit_scale.detach().exp()), rel=1e-6)
    assert not any(value.requires_grad for value in clip.model.parameters())
    assert not any(module.training for module in clip.model.modules())


def test_one_object_for_one_foundation(small_clip: dict[str, Any]) -> None:
    turned = {key: small_clip[key] for key in reversed(small_clip)}
    assert shared_clip(small_clip) is shared_clip(json.loads(json.dumps(turned))) is shared_clip(turned, None)
    other = changed(small_clip, "vision_cfg", layers=2)
    assert shared_clip(other) is not shared_clip(small_clip)


def test_random_weights_are_said_once(small_clip: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            shared_clip(changed(small_clip, "text_cfg", width=48, heads=3))
    assert len(caplog.records) == 1 and "random weights" in caplog.text


def test_random_weights_leave_the_random_numbers_alone(small_clip: dict[str, Any]) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    shared_clip(changed(small_clip, "text_cfg", width=64))
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_are_the_same_in_another_process(small_clip: dict[str, Any]) -> None:
    program = (
        "import json, sys, torch; torch.manual_seed(99)\n"
        "from fedmed_networks.clip.foundation import shared_clip; from fedmed_networks.weights import module_digest\n"
        "print(module_digest(shared_clip(json.loads(sys.argv[1])).model))"
    )
    command = [sys.executable, "-c", program, json.dumps(small_clip)]
    other = subprocess.run(command, capture_output=True, text=True, check=True, timeout=END_SECONDS)
    assert other.stdout.strip() == module_digest(shared_clip(small_clip).model)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_a_file(
    small_clip: dict[str, Any], other_weights: dict[str, torch.Tensor], tmp_path: Path, suffix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    path = tmp_path / f"weights{suffix}"
    save_file(other_weights, path) if suffix == ".safetensors" else torch.save(other_weights, path)
    clip = shared_clip(small_clip, path)
    state = clip.model.state_dict()
    assert set(state) == set(other_weights)
    assert all(torch.equal(state[name], value) for name, value in other_weights.items())
    assert clip.scale == pytest.approx(float(other_weights["logit_scale"].exp()), rel=1e-6)
    assert "random weights" not in caplog.text
    assert shared_clip(small_clip, str(path)) is clip is not shared_clip(small_clip)


def test_a_file_that_changes_is_read_again(
    small_clip: dict[str, Any], other_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(other_weights, path)
    first = shared_clip(small_clip, path)
    save_file({name: value + 1 for name, value in other_weights.items()}, path)
    second = shared_clip(small_clip, path)
    assert torch.equal(second.model.visual.proj, other_weights["visual.proj"] + 1)
    assert torch.equal(first.model.visual.proj, other_weights["visual.proj"])


@pytest.mark.parametrize(
    "section, values",
    [("vision_cfg", {"width": 128}), ("vision_cfg", {"layers": 3}), ("vision_cfg", {"patch_size": 4}),
     ("text_cfg", {"width": 96, "heads": 3}), ("text_cfg", {"vocab_size": 50000})],
)  # fmt: skip
def test_weights_of_another_shape_are_refused(
    small_clip: dict[str, Any], other_weights: dict[str, torch.Tensor], tmp_path: Path, section: str,
    values: dict[str, Any],
) -> None:  # fmt: skip
    path = tmp_path / "weights.pt"
    torch.save(other_weights, path)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: these weights do not fit CLIP"):
        shared_clip(changed(small_clip, section, **values), path)


def half_of(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "name, write",
    [
        pytest.param("w.pt", lambda path: torch.save({"other": torch.zeros(2)}, path), id="other network"),
        pytest.param("w.pt", lambda path: torch.save([1, 2], path), id="list"),
        pytest.param("w.pt", lambda path: torch.save({}, path), id="nothing"),
        pytest.param("w.pt", lambda path: path.write_bytes(b""), id="empty"),
        pytest.param("w.pt", lambda path: path.write_text("hello"), id="text"),
        pytest.param("w.pt", lambda path: (torch.save({"a": torch.zeros(99)}, path), half_of(path)), id="cut off"),
        pytest.param("w.safetensors", lambda path: path.write_text("hello"), id="text as safetensors"),
        pytest.param("w.safetensors", lambda path: (save_file({"a": torch.zeros(99)}, path), half_of(path)),
                     id="cut off safetensors"),
    ],
)  # fmt: skip
def test_a_file_without_weights_is_refused(
    small_clip: dict[str, Any], tmp_path: Path, name: str, write: Callable[[Path], Any]
) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / name))):
        shared_clip(small_clip, tmp_path / name)


@pytest.mark.parametrize(
    "clip, weights, named",
    [
        ("ViT-B-99", None, ["'ViT-B-99'", "ViT-B-32", "RN50"]),
        ("ViT-B-32", "openia", ["'openia'", "ViT-B-32", "'openai'", "'laion2b_s34b_b79k'"]),
        ("ViT-B-32", "openai", ["'openai'", "trained with QuickGELU", "expected CLIP 'ViT-B-32-quickgelu'"]),
        ("ViT-B-32", "missing/file.pt", ["'missing/file.pt'", "expected a file that exists", "'openai'"]),
        ({"embed_dim": 16}, None, ["{\"embed_dim\": 16}", "lacks ['text_cfg', 'vision_cfg']"]),
        ({"embed_dim": 16, "vision_cfg": {"wings": 2}, "text_cfg": {}}, None, ["could not be built", "wings"]),
        ({"embed_dim": 16, "vision_cfg": 7, "text_cfg": {}}, None, ["could not be built"]),
        ("local-dir:missing/folder", None, ["could not be built", "missing/folder"]),
    ],
)
def test_unknown_foundations_are_refused(clip: Any, weights: str | None, named: list[str]) -> None:
    with pytest.raises(ValueError) as refusal:
        shared_clip(clip, weights)
    assert all(part in str(refusal.value) for part in named), refusal.value
