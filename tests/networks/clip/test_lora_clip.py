"""LoRA on CLIP: what it begins with, what its terms add, what trains, and what networks of a process share."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from fedmed_networks import LoraCLIP, ZeroShotCLIP
from fedmed_networks.clip.lora import ProjectedAttention

CLASSES = ["no tumour", "glioma", "méningiome"]
TERMS = re.compile(r"visual\.transformer\.resblocks\.\d+\.attn\.(query|value)\.lora_[AB]\.default\.weight")


@pytest.fixture
def clip(small_clip: dict[str, Any]) -> dict[str, Any]:
    return {**small_clip, "vision_cfg": {**small_clip["vision_cfg"], "layers": 2}}


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def moved(network: LoraCLIP) -> LoraCLIP:
    """The network with random numbers in all of its terms."""
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.copy_(torch.randn(value.shape, generator=random) / 4)
    return network


@pytest.mark.parametrize("masked", [False, True])
def test_split_attention_is_torchs_own(masked: bool) -> None:
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(12, 3, batch_first=True)
    nn.init.normal_(whole.in_proj_bias)
    tokens = torch.randn(2, 5, 12)
    mask = torch.full((5, 5), -torch.inf).triu(1) if masked else None
    found, weights = ProjectedAttention(whole)(tokens, tokens, tokens, need_weights=False, attn_mask=mask)
    torch.testing.assert_close(found, whole(tokens, tokens, tokens, need_weights=False, attn_mask=mask)[0])
    assert weights is None


@torch.no_grad()
def test_it_begins_as_zero_shot_clip(clip: dict[str, Any], pictures: torch.Tensor) -> None:
    torch.testing.assert_close(LoraCLIP(CLASSES, clip)(pictures), ZeroShotCLIP(CLASSES, clip)(pictures))


@torch.no_grad()
def test_terms_add_to_queries_and_values(clip: dict[str, Any], pictures: torch.Tensor) -> None:
    network, plain = moved(LoraCLIP(CLASSES, clip, rank=2, alpha=6)), ZeroShotCLIP(CLASSES, clip)
    visual = copy.deepcopy(plain.visual)
    blocks = [block for block in visual.modules() if isinstance(block, ResidualAttentionBlock)]
    state = network.state_dict()
    for number, block in enumerate(blocks):
        width = block.attn.embed_dim
        for part, start in (("query", 0), ("value", 2 * width)):
            a, b = (
                state[f"visual.transformer.resblocks.{number}.attn.{part}.lora_{name}.default.weight"] for name in "AB"
            )
            assert a.shape == (2, width) and b.shape == (width, 2)
            block.attn.in_proj_weight[start : start + width] += 6 / 2 * b @ a
    assert (visual(pictures) - plain.visual(pictures)).abs().max() > 0.01
    torch.testing.assert_close(network.encode(pictures), visual(pictures), rtol=1e-4, atol=1e-5)


def test_the_terms_alone_train(clip: dict[str, Any], pictures: torch.Tensor) -> None:
    network = moved(LoraCLIP(CLASSES, clip)).train()
    trains = {name for name, value in network.named_parameters() if value.requires_grad}
    assert len(trains) == 2 * 2 * 2 and all(TERMS.fullmatch(name) for name in trains)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(pictures).square().sum().backward()
    assert {name for name, value in network.named_parameters() if value.grad is not None} == trains
    assert all(bool(value.grad.any()) for value in network.parameters() if value.requires_grad)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_networks_share_what_is_frozen_and_nothing_else(clip: dict[str, Any], pictures: torch.Tensor) -> None:
    torch.manual_seed(0)
    one = LoraCLIP(CLASSES, clip)
    torch.manual_seed(0)
    other, plain = LoraCLIP(CLASSES, clip), ZeroShotCLIP(CLASSES, clip)
    for name, value in one.named_parameters():
        same = other.get_parameter(name)
        assert torch.equal(value, same)  # of one seed
        assert (same is value) == (not value.requires_grad), name
    storages = {value.untyped_storage().data_ptr() for value in plain.visual.parameters()}
    frozen = (value for value in one.visual.parameters() if not value.requires_grad)
    assert {value.untyped_storage().data_ptr() for value in frozen} == storages
    answer = plain(pictures)
    moved(one)
    torch.testing.assert_close(plain(pictures), answer, rtol=0, atol=0)
    torch.testing.assert_close(other(pictures), answer)


def test_a_state_with_another_encoder_is_its_own(clip: dict[str, Any], pictures: torch.Tensor) -> None:
    network, other = LoraCLIP(CLASSES, clip), LoraCLIP(CLASSES, clip)
    trained, answer = [value for value in network.parameters() if value.requires_grad], other(pictures)
    state = {name: value * 2 if value.is_floating_point() else value for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(other(pictures), answer)
    left = [value for value in network.parameters() if value.requires_grad]
    assert all(one is two for one, two in zip(trained, left, strict=True))  # an optimiser goes on with them


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 0}, "rank: found 0, expected a whole number of at least 1"),
        ({"rank": 1.5}, "rank: found 1.5, expected a whole number of at least 1"),
        ({"alpha": -1}, "alpha: found -1, expected a number above 0"),
        ({"alpha": "4"}, "alpha: found '4', expected a number above 0"),
    ],
)
def test_bad_settings_are_refused(clip: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LoraCLIP(CLASSES, clip, **changes)


def test_an_encoder_without_such_attention_is_refused(clip: dict[str, Any]) -> None:
    residual = {**clip, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}}
    with pytest.raises(ValueError, match="its image encoder is a ModifiedResNet, LoRA expects one of open_clip's"):
        LoraCLIP(CLASSES, residual)
