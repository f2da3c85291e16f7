"""Tests the tensors that networks with the same frozen foundation share, and the cases that end the sharing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedmed_networks import FedMSA, LoraSAM
from fedmed_networks.sam.frozen_encoder import FrozenEncoderSam

State = dict[str, torch.Tensor]
KINDS = [FedMSA, LoraSAM]


def own_names(network: FrozenEncoderSam) -> set[str]:
    return {name for name, value in network.named_parameters() if value.requires_grad}


def pointers(network: FrozenEncoderSam, names: set[str]) -> set[int]:
    return {value.data_ptr() for name, value in network.state_dict().items() if name in names}


@pytest.mark.parametrize(
    ("kind", "changed", "of_block"), [(FedMSA, {"window_padding": "published"}, 14), (LoraSAM, {"rank": 2}, 18)]
)
def test_networks_share_the_frozen_part_and_nothing_else(
    small_sam: dict[str, Any], kind: Any, changed: dict[str, Any], of_block: int
) -> None:
    network = kind(1, small_sam, 64)
    turned = {key: small_sam[key] for key in reversed(small_sam)}
    for other in (kind(1, turned, 64), kind(2, small_sam, 64, checkpointing=True, **changed)):
        frozen = set(network.state_dict()) - own_names(network)
        assert len(frozen) == 3 * of_block + 3 + 6 + 1
        assert frozen == set(other.state_dict()) - own_names(other)
        assert pointers(network, frozen) == pointers(other, frozen)
        assert pointers(network, own_names(network)).isdisjoint(pointers(other, own_names(other)))


def test_networks_of_two_methods_share_their_foundation_s_memory(small_sam: dict[str, Any]) -> None:
    adapters, low_rank = FedMSA(1, small_sam, 64), LoraSAM(1, small_sam, 64)
    memory = [
        {value.untyped_storage().data_ptr() for value in network.parameters() if not value.requires_grad}
        for network in (adapters, low_rank)
    ]
    assert memory[0] == memory[1] and len(memory[0]) == 3 * 14 + 3 + 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_with_another_frozen_part_is_loaded_into_one_network_alone(
    small_sam: dict[str, Any], drawn: Callable[..., State], kind: Any
) -> None:
    network, other = kind(1, small_sam, 64), kind(1, small_sam, 64)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = [value for value in other.parameters() if value.requires_grad]
    state = drawn(other)
    other.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in kind(1, small_sam, 64).state_dict().items()
               if name not in own_names(network))  # fmt: skip
    still = [value for value in other.parameters() if value.requires_grad]
    assert all(one is two for one, two in zip(trained, still, strict=True))  # an optimiser goes on with them
    assert own_names(other) == own_names(network)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_with_the_same_frozen_part_keeps_it_shared(small_sam: dict[str, Any], kind: Any) -> None:
    network, other = kind(1, small_sam, 64), kind(1, small_sam, 64)
    state = {name: value * 2 if name in own_names(other) else value for name, value in other.state_dict().items()}
    other.load_state_dict(copy.deepcopy(state))
    frozen = set(state) - own_names(network)
    assert pointers(network, frozen) == pointers(other, frozen)


@pytest.mark.parametrize("kind", KINDS)
def test_tiny_vit_has_no_adapters(kind: Any) -> None:
    with pytest.raises(ValueError, match=f"tiny_vit.*{kind.__name__} expects.*no adapters"):
        kind(1, "tiny_vit", 64)
