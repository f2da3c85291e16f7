"""The variants of a training step compute the same function, so that their times can be compared."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from benchmarks import sam_step
from benchmarks.gpu.parts.sites import SAM
from fedmed_networks.sam.attention import RelativeAttention


def test_flex_attention_answers_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam_step, "_flex", lambda: flex_attention)  # without a compiler
    module = RelativeAttention(24, 3, use_rel_pos=True, input_size=(4, 4))
    random = torch.Generator().manual_seed(0)
    state = {name: torch.randn(value.shape, generator=random) for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    tokens = torch.randn(2, 4, 4, 24, generator=random)
    with torch.no_grad():
        torch.testing.assert_close(sam_step.flexible_attention(module, tokens), module(tokens), rtol=1e-4, atol=1e-5)


def test_every_variant_starts_at_the_same_loss() -> None:
    measured = {name: sam_step.measure(name, SAM, 64, 1, torch.device("cpu")) for name in ("plain", "ours", "bfloat16")}
    found = sam_step.compared(measured)
    assert found["ours_loss_difference"] < 1e-5 < measured["plain"]["loss"] and found["bfloat16_loss_difference"] < 0.01
    assert found["ours_times_faster"] > 0 and found["plain_peak_gb"] >= 0


def test_a_variant_leaves_no_attention_of_its_own_to_the_next_one() -> None:
    device = torch.device("cpu")
    for variant in ("plain", "ours"):
        attention = [module for module in sam_step.build(variant, SAM, 64, device).modules()
                     if isinstance(module, RelativeAttention)]  # fmt: skip
        assert all(("forward" in vars(module)) is (variant == "plain") for module in attention) and attention
