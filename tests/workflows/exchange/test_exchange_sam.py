"""Tests that the segmentation networks exchange exactly the tensors that get a gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmed_networks import FedMSA, FedSAM, FedUNet, LoraSAM
from fedmed_workflows.exchange.local_normalization import keep_normalizations_local
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.trainable import exchanged_tensors, local_tensors, trainable_tensors
from fedmed_workflows.exchange.weights import get_weights, set_weights

SMALL = {
    "width": 32, "depth": 3, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16, "neck": 16,
    "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp": 64,
}  # fmt: skip
LAYERS = {"LayerNorm", "LayerNorm2d"}
NETWORKS = {
    "FedSAM": (lambda classes: FedSAM(classes, SMALL, 64), LAYERS),
    "FedMSA": (lambda classes: FedMSA(classes, SMALL, 64), LAYERS),
    "LoraSAM": (lambda classes: LoraSAM(classes, SMALL, 64), LAYERS),
    "tiny_vit": (lambda classes: FedSAM(classes, "tiny_vit", 64), {*LAYERS, "BatchNorm2d"}),
    "FedUNet": (lambda classes: FedUNet(classes, 64), {"BatchNorm2d"}),
}
"""What builds a network of so many classes, and the normalisations that train in it."""


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_travels_gets_a_gradient_and_nothing_else_does(name: str, classes: int) -> None:
    build, normalizations = NETWORKS[name]
    network = build(classes)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in exchanged_tensors(network).values():
            if isinstance(value, nn.Parameter):
                value.add_(0.1 * torch.randn(value.shape, generator=random))  # leave layers that start at zero
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(2, 3, 64, 64, generator=random)).square().sum().backward()
    got = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    parameters = {name for name in exchanged_tensors(network) if not name.endswith(statistics)}
    assert set(got) == parameters
    assert all(bool(gradient.any()) for name, gradient in got.items() if not name.endswith(".bias")), {
        name for name, gradient in got.items() if not gradient.any()
    }
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(exchanged_tensors(network)) - parameters
    assert bool(moved) == ("BatchNorm2d" in normalizations)


@pytest.mark.parametrize("name", NETWORKS)
def test_normalizations_that_stay_get_a_gradient_and_do_not_travel(name: str) -> None:
    build, normalizations = NETWORKS[name]
    network = build(1)
    before = set(trainable_tensors(network))
    keep_normalizations_local(network)
    owners = {name.rpartition(".")[0] for name in local_tensors(network)}
    kinds = {type(network.get_submodule(owner)).__name__ for owner in owners}
    assert kinds == normalizations
    assert set(exchanged_tensors(network)) | set(local_tensors(network)) == before == set(trainable_tensors(network))
    assert not set(exchanged_tensors(network)) & set(local_tensors(network))
    network(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert all(value.grad is not None for value in local_tensors(network).values() if isinstance(value, nn.Parameter))


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_travels_makes_two_networks_equal(name: str, classes: int) -> None:
    torch.manual_seed(0)
    one, other = (NETWORKS[name][0](classes) for _ in range(2))
    with torch.no_grad():
        for value in exchanged_tensors(one).values():
            value.add_(1)
    manifest = Manifest.of(one)
    manifest.check_same(Manifest.of(other), "other")
    manifest.check(get_weights(one), "one")
    set_weights(other, get_weights(one))
    state = other.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_the_frozen_part_must_be_the_same() -> None:
    network, other = FedMSA(1, SMALL, 64), FedMSA(1, SMALL, 64)
    state = {name: value.clone() for name, value in other.state_dict().items()}
    state["image_encoder.pos_embed"] += 1
    other.load_state_dict(state)
    with pytest.raises(ValueError, match="frozen weights"):
        Manifest.of(network).check_same(Manifest.of(other), "other")
