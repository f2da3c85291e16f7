"""LoRA on SAM: SAM's own answer at the start, the formula of its queries and values, and what trains."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmed_networks import FedSAM, LoraSAM
from fedmed_networks.sam.foundation import shared_sam

State = dict[str, torch.Tensor]

LARGER = {"width": 64, "depth": 4, "heads": 4, "window_size": 5, "global_blocks": [1, 3]}


def test_a_new_network_answers_as_sam_does(small_sam: dict[str, Any], sam_file: Path, images: torch.Tensor) -> None:
    network = LoraSAM(1, small_sam, 64, weights=sam_file)
    with torch.no_grad():
        expected = shared_sam(small_sam, 64, sam_file).image_encoder(images)
        torch.testing.assert_close(network.image_encoder(images), expected, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(network(images), FedSAM(1, small_sam, 64, sam_file)(images), rtol=1e-4, atol=1e-5)
    assert float(expected.std()) > 0.1


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_larger_sam(small_sam: dict[str, Any], checkpointing: bool) -> None:
    sizes, images = {**small_sam, **LARGER}, torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    network = LoraSAM(2, sizes, 192, checkpointing=checkpointing)
    expected = shared_sam(sizes, 192).image_encoder(images)
    torch.testing.assert_close(network.image_encoder(images), expected, rtol=1e-5, atol=2e-6)
    network(images).sum().backward()
    assert all(value.grad is not None for value in network.parameters() if value.requires_grad)


@pytest.mark.parametrize(("rank", "alpha"), [(4, 4.0), (2, 3.0), (1, 8)])
def test_queries_and_values_get_low_rank_terms_and_keys_none(
    small_sam: dict[str, Any], drawn: Callable[..., State], rank: int, alpha: float
) -> None:
    network = LoraSAM(1, small_sam, 64, rank=rank, alpha=alpha)
    state = drawn(network)
    network.load_state_dict(state)
    tokens = torch.randn(2, 4, 4, 32, generator=torch.Generator().manual_seed(0))
    place = "image_encoder.blocks.1.attn.qkv."

    def plain(name: str, base: str) -> torch.Tensor:
        return tokens @ state[f"{place}{name}{base}.weight"].t() + state[f"{place}{name}{base}.bias"]

    def term(name: str) -> torch.Tensor:
        down, up = (state[f"{place}{name}.lora_{letter}.default.weight"] for letter in "AB")
        assert down.shape == (rank, 32) and up.shape == (32, rank)
        return alpha / rank * (tokens @ down.t()) @ up.t()

    query, key, value = (plain("query", ".base_layer") + term("query"), plain("key", ""),
                         plain("value", ".base_layer") + term("value"))  # fmt: skip
    with torch.no_grad():
        answer = network.image_encoder.blocks[1].attn.qkv(tokens)
    torch.testing.assert_close(answer, torch.cat([query, key, value], dim=-1), rtol=1e-5, atol=1e-5)


def test_the_frozen_projections_are_those_of_sam(small_sam: dict[str, Any], sam_file: Path) -> None:
    projection = shared_sam(small_sam, 64, sam_file).image_encoder.blocks[2].attn.qkv
    split = LoraSAM(1, small_sam, 64, sam_file).image_encoder.blocks[2].attn.qkv
    layers = [split.query.base_layer, split.key, split.value.base_layer]
    assert torch.equal(torch.cat([layer.weight for layer in layers]), projection.weight)
    assert torch.equal(torch.cat([layer.bias for layer in layers]), projection.bias)


@pytest.mark.parametrize("classes", [1, 2])
def test_what_trains(small_sam: dict[str, Any], classes: int) -> None:
    network = LoraSAM(classes, small_sam, 64)
    names = {name for name, value in network.named_parameters() if value.requires_grad}
    factor = re.compile(r"image_encoder\.blocks\.[012]\.attn\.qkv\.(query|value)\.lora_[AB]\.default\.weight")
    assert len([name for name in names if factor.fullmatch(name)]) == 3 * 2 * 2
    decoder = {name for name, _ in network.named_parameters() if name.startswith("mask_decoder.")}
    assert {name for name in names if not factor.fullmatch(name)} == decoder


def test_number_of_trained_parameters_of_vit_b() -> None:
    network = LoraSAM()
    trained = {name: value.numel() for name, value in network.named_parameters() if value.requires_grad}
    factors = sum(number for name, number in trained.items() if name.startswith("image_encoder."))
    assert factors == 12 * 2 * 2 * 4 * 768 == 147_456
    assert sum(trained.values()) - factors == 3_506_304  # FedMSA's decoder


def test_factors_start_from_torchs_random_numbers_and_zero(small_sam: dict[str, Any]) -> None:
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(LoraSAM(1, small_sam, 64).state_dict())
    first, again, other = networks
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    drawn_anew = {name for name, value in first.items() if not torch.equal(value, other[name])}
    assert drawn_anew == {name for name in first if ".lora_A." in name} and len(drawn_anew) == 3 * 2
    assert not any(value.any() for name, value in first.items() if ".lora_B." in name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_a_trace_agrees(small_sam: dict[str, Any], drawn: Callable[..., State], images: torch.Tensor) -> None:
    network = LoraSAM(1, small_sam, 64).eval()
    network.load_state_dict(drawn(network))
    traced = torch.jit.trace(network, images[:1])
    with torch.no_grad():
        torch.testing.assert_close(traced(images), network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rank": 0}, "rank: found 0, expected a whole number of at least 1"),
        ({"rank": 1.5}, "rank: found 1.5, expected a whole number of at least 1"),
        ({"rank": True}, "rank: found True, expected a whole number of at least 1"),
        ({"alpha": 0}, "alpha: found 0, expected a number above 0"),
        ({"alpha": "4"}, "alpha: found '4', expected a number above 0"),
    ],
)
def test_a_wrong_setting_is_refused(small_sam: dict[str, Any], changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LoraSAM(1, small_sam, 64, **changed)
