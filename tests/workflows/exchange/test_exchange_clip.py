"""Tests that methods on a frozen CLIP exchange exactly the tensors that get a gradient in their own step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fedmed_networks import FACMIC, FedCLIP, LinearHeadCLIP, LoraCLIP, ZeroShotCLIP
from fedmed_workflows import FACMICLoss
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.trainable import exchanged_tensors
from fedmed_workflows.exchange.weights import get_weights
from fedmed_workflows.methods.faa_clip import AdversarialInferer, FAACLIPLoss
from fedmed_workflows.methods.facmic import AdaptationInferer, FeatureInferer
from fedmed_workflows.methods.image_prompt_pairs import PairInferer, PairLoss

METHODS = {
    "facmic": (FACMIC, AdaptationInferer(), lambda network: FACMICLoss()),
    "fedclip": (FedCLIP, AdaptationInferer(), lambda network: FACMICLoss()),
    "faa_clip": (FACMIC, AdversarialInferer(), FAACLIPLoss),
    "linear_head": (LinearHeadCLIP, FeatureInferer(), lambda network: nn.CrossEntropyLoss()),
    "lora": (LoraCLIP, PairInferer(), lambda network: PairLoss()),
}
"""Network, forward pass and loss of each method's training step."""


@pytest.mark.parametrize("method", METHODS)
def test_what_travels_gets_a_gradient_and_nothing_else_does(method: str, small_clip: dict[str, Any]) -> None:
    kind, inferer, loss_of = METHODS[method]
    network = kind(["a", "b", "c"], clip=small_clip).train()
    with torch.no_grad():
        for value in network.parameters():  # LoRA's B begins at zero, and keeps every gradient from A
            value += 0.1 * torch.randn(value.shape) if value.requires_grad else 0
    before = {name: value.clone() for name, value in network.state_dict().items()}
    target = {"target": torch.randn(6, 3, 16, 16)} if method in ("facmic", "faa_clip") else {}
    step = inferer(torch.randn(6, 3, 16, 16), network, **target)
    loss_of(network)(step, torch.arange(6) % 3).backward()
    reached = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert reached | moved == set(exchanged_tensors(network)) == set(get_weights(network))
    assert bool(moved) == (kind is FACMIC)


def test_of_zero_shot_clip_nothing_travels(small_clip: dict[str, Any]) -> None:
    network = ZeroShotCLIP(["a", "b"], clip=small_clip)
    assert not exchanged_tensors(network)
    manifest = Manifest.of(network)
    assert not manifest.tensors and manifest.bytes == 0
    with pytest.raises(ValueError, match="its frozen weights have digest"):
        manifest.check_same(Manifest.of(ZeroShotCLIP(["a", "c"], clip=small_clip)), "another site")
