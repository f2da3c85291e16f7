"""Checkpoints as segment_anything publishes them: loaded, fitted to another image size, or refused by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from segment_anything.modeling.image_encoder import Attention

from fedmed_networks import FedMSA, FedSAM
from fedmed_networks.sam.foundation import shared_sam

State = dict[str, torch.Tensor]


@pytest.fixture
def published(sam_file: Path) -> State:
    return torch.load(sam_file, weights_only=True)


@pytest.mark.parametrize("network_type", [FedSAM, FedMSA])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_checkpoint_becomes_the_network(
    small_sam: dict[str, Any], sam_file: Path, published: State, network_type: Any, classes: int
) -> None:
    state = network_type(classes, small_sam, 64, weights=sam_file).state_dict()
    own = {name for name in state if "Adapter" in name or "seg1" in name}
    assert all(torch.equal(value, published[name]) for name, value in state.items() if name not in own)
    used = {"image_encoder", "mask_decoder", "prompt_encoder.pe_layer"}
    unused = {name for name in set(published) - set(state) if name.startswith(tuple(used))}
    mlps = () if classes == 2 else tuple(f"mask_decoder.output_hypernetworks_mlps.{place}" for place in (1, 2, 3))
    assert all(name.startswith(("mask_decoder.iou_prediction_head", *mlps)) for name in unused)


@pytest.mark.parametrize("form", ["under model", "safetensors"])
def test_other_forms_of_a_checkpoint(small_sam: dict[str, Any], published: State, tmp_path: Path, form: str) -> None:
    path = tmp_path / ("sam.safetensors" if form == "safetensors" else "sam.pt")
    save_file(published, path) if form == "safetensors" else torch.save({"model": published}, path)
    state = FedSAM(2, small_sam, 64, weights=str(path)).state_dict()
    assert all(torch.equal(value, published[name]) for name, value in state.items() if "seg1" not in name)


def test_vit_b_has_the_tensors_of_segment_anything() -> None:
    with torch.device("meta"):
        expected = {name: value.shape for name, value in sam_model_registry["vit_b"]().state_dict().items()}
    assert {name: value.shape for name, value in shared_sam("vit_b", 1024).state_dict().items()} == expected


@pytest.mark.parametrize("side", [6, 2, 3])
def test_positions_are_fitted_to_another_image_size(
    small_sam: dict[str, Any], sam_file: Path, published: State, side: int
) -> None:
    """Pillow scales as an independent reference; with windows, relative positions stay as they are."""
    state = FedMSA(1, small_sam, 16 * side, weights=sam_file).state_dict()
    for channel in range(32):
        plane = Image.fromarray(published["image_encoder.pos_embed"][0, :, :, channel].numpy())
        expected = np.array(plane.resize((side, side), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(state["image_encoder.pos_embed"][0, :, :, channel], expected, rtol=0, atol=1e-5)
    for name in ("rel_pos_h", "rel_pos_w"):
        assert state[f"image_encoder.blocks.1.attn.{name}"].shape == (2 * side - 1, 8)
        window = f"image_encoder.blocks.0.attn.{name}"
        assert torch.equal(state[window], published[window])


def test_relative_positions_answer_as_segment_anything_scales_them(
    small_sam: dict[str, Any], sam_file: Path, published: State
) -> None:
    ours = FedMSA(1, small_sam, 32, weights=sam_file).image_encoder.blocks[1].attn
    theirs = Attention(32, 4, use_rel_pos=True, input_size=(4, 4))
    prefix = "image_encoder.blocks.1.attn."
    theirs.load_state_dict({n.removeprefix(prefix): v for n, v in published.items() if n.startswith(prefix)})
    tokens = torch.randn(2, 2, 2, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-5, atol=1e-5)


def refusal(small_sam: dict[str, Any], path: Path, **settings: Any) -> str:
    with pytest.raises(ValueError) as error:
        FedSAM(**{"model_type": small_sam, "image_size": 64, "weights": path, **settings})
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_checkpoint_of_another_sam_is_refused(small_sam: dict[str, Any], sam_file: Path) -> None:
    message = refusal({**small_sam, "width": 64, "depth": 4}, sam_file)
    assert "encoder of width 64 and depth 4" in message and "found an image encoder of width 32 and depth 3" in message
    message = refusal(small_sam, sam_file, model_type="tiny_vit")
    assert "expected the weights of a SAM tiny_vit" in message and "unknown: image_encoder.blocks.0" in message


def test_a_published_encoder_is_named(small_sam: dict[str, Any], published: State, tmp_path: Path) -> None:
    path = tmp_path / "sam_vit_l.pth"
    torch.save({**published, "image_encoder.pos_embed": torch.zeros(1, 64, 64, 1024)}, path)
    assert "width 1024 and depth 3, as vit_l has" in refusal(small_sam, path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("mask_decoder.iou_token.weight"), "missing: mask_decoder.iou_token.weight"),
        (lambda s: s.pop("image_encoder.pos_embed"), "without image_encoder.pos_embed"),
        (lambda s: s.update({"adapter.weight": torch.zeros(1)}), "unknown: adapter.weight"),
        (lambda s: s.update({"image_encoder.neck.0.weight": torch.zeros(16, 32, 3, 3)}), "found (16, 32, 3, 3)"),
        (
            lambda s: s.update({"image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(27, 8)}),
            "blocks.0.attn.rel_pos_h: found (27, 8), expected (5, 8)",
        ),
        (lambda s: s.clear(), "found no tensors"),
    ],
    ids=["missing", "no positions", "unknown", "shape", "window", "empty"],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused(
    small_sam: dict[str, Any], published: State, tmp_path: Path, change: Callable[[State], Any], said: str
) -> None:
    change(published)
    torch.save(published, tmp_path / "other.pth")
    assert said in refusal(small_sam, tmp_path / "other.pth")


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: path.write_text("not a checkpoint"), id="text"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200)), id="cut off"),
        pytest.param(lambda path: torch.save([1, 2], path), id="list"),
        pytest.param(lambda path: torch.save({"a": 1}, path), id="numbers"),
        pytest.param(lambda path: torch.save(re.compile("a"), path), id="an object"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_checkpoint_is_refused(
    small_sam: dict[str, Any], tmp_path: Path, write: Callable[[Path], Any], suffix: str
) -> None:
    write(tmp_path / f"foreign{suffix}")
    assert "not a checkpoint" in refusal(small_sam, tmp_path / f"foreign{suffix}")


def test_a_missing_file_is_refused(small_sam: dict[str, Any], tmp_path: Path) -> None:
    assert "no such file" in refusal(small_sam, tmp_path / "sam.pth")


def test_a_refused_file_leaves_the_random_start_as_it_was(small_sam: dict[str, Any], sam_file: Path) -> None:
    before = FedMSA(1, small_sam, 64).image_encoder.neck[0].weight.clone()
    with pytest.raises(ValueError):
        FedMSA(1, {**small_sam, "depth": 2, "global_blocks": [1]}, 64, weights=sam_file)
    assert torch.equal(FedMSA(1, small_sam, 64).image_encoder.neck[0].weight, before)


def test_random_weights_are_said_and_the_same_in_every_process(
    small_sam: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    other = {**small_sam, "decoder_mlp": 48}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with caplog.at_level(logging.WARNING):
        first = shared_sam(other, 64)
        assert shared_sam(other, 64) is first
    assert torch.equal(torch.rand(1), expected)  # torch's random numbers go on as if nothing had been drawn
    assert len(caplog.records) == 1 and "random weights (seed 20240308)" in caplog.text
    shared_sam(small_sam, 32), shared_sam(small_sam, 64)
    again = shared_sam(other, 64).state_dict()
    assert shared_sam(other, 64) is not first
    assert all(torch.equal(value, again[name]) for name, value in first.state_dict().items())
