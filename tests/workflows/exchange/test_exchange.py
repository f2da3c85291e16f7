"""Tests the exchanged tensors (those that train), their manifest, and every refusal with the names in its message."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmed_networks import FACMIC
from fedmed_workflows import FACMICLoss
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.trainable import exchanged_tensors, trainable_parameters
from fedmed_workflows.exchange.weights import FULL, HALF, Weights, get_weights, set_weights
from fedmed_workflows.methods.facmic import AdaptationInferer

PARAMETERS = {f"attention.{layer}.{kind}" for layer in (0, 1, 3) for kind in ("weight", "bias")}
STATISTICS = {f"attention.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FACMIC:
    return FACMIC(["a", "b", "c"], clip=small_clip)


def test_the_attention_travels_and_nothing_else(network: FACMIC) -> None:
    assert set(exchanged_tensors(network)) == PARAMETERS | STATISTICS
    assert all(exchanged_tensors(network)[name] is network.get_parameter(name) for name in PARAMETERS)
    expected = {id(network.get_parameter(name)) for name in PARAMETERS}
    assert {id(value) for value in trainable_parameters(network)} == expected
    assert set(exchanged_tensors(network)) <= set(network.state_dict())


def test_a_frozen_normalisation_stays() -> None:
    unlearned = [nn.BatchNorm2d(2, affine=False), nn.InstanceNorm2d(2)]
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), *unlearned)
    learned = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert set(exchanged_tensors(network[0])) == learned
    network[0].requires_grad_(False)
    assert set(exchanged_tensors(network)) == {"1.weight", "1.bias"}
    network[1].bias.requires_grad_(False)
    assert set(exchanged_tensors(network)) == {"1.weight"}


@pytest.mark.parametrize("pictures", [True, False], ids=["pictures", "features"])
def test_a_training_step_changes_what_travels_and_nothing_else(network: FACMIC, pictures: bool) -> None:
    random = torch.Generator().manual_seed(0)
    shape = (8, 3, 16, 16) if pictures else (8, 16)
    source, target = (torch.randn(shape, generator=random) for _ in range(2))
    labels = torch.arange(8) % 3
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.Adam(trainable_parameters(network), lr=1e-2)
    step = AdaptationInferer()(source, network, target=target)
    assert step.target_probabilities is not None and not step.target_probabilities.requires_grad
    FACMICLoss()(step, labels).backward()
    optimizer.step()
    gradients = {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
    assert set(gradients) == PARAMETERS
    # the normalisation takes the first layer's bias away again: its gradient is zero but for rounding
    assert {name for name, value in gradients.items() if bool(value.any())} >= PARAMETERS - {"attention.0.bias"}
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed - {"attention.0.bias"} == (PARAMETERS | STATISTICS) - {"attention.0.bias"}
    assert int(network.attention[1].num_batches_tracked) == 2  # source and target


def test_both_losses_reach_the_attention(network: FACMIC) -> None:
    random = torch.Generator().manual_seed(0)
    source, target = (torch.randn(9, 16, generator=random) for _ in range(2))
    labels = torch.arange(9) % 3
    losses, gradients = [], []
    for batch in (None, target):
        network.zero_grad()
        loss = FACMICLoss()(AdaptationInferer()(source, network.eval(), target=batch), labels)
        loss.backward()
        losses.append(loss.item())
        gradients.append(network.attention[3].weight.grad.clone())
    step = AdaptationInferer()(source, network, target=target)
    torch.testing.assert_close(step.target, target / target.norm(dim=1, keepdim=True))  # raw features, normalised
    torch.testing.assert_close(step.target_probabilities, network.classify(target).softmax(dim=1))
    torch.testing.assert_close(step.source, network.adapt(source))
    alone = FACMICLoss().lmmd(step.source, step.target, labels, step.target_probabilities)
    assert alone.item() > 0 and losses[1] == pytest.approx(losses[0] + alone.item(), rel=1e-5)
    assert not torch.allclose(gradients[0], gradients[1])


def test_taken_weights_are_copies(network: FACMIC) -> None:
    taken = get_weights(network)
    before = {name: value.clone() for name, value in taken.items()}
    with torch.no_grad():
        network.attention[0].weight.add_(1)
        network.attention[1].running_mean.add_(1)
    assert all(torch.equal(taken[name], before[name]) for name in taken)
    assert not any(value.requires_grad for value in taken.values())
    for value in taken.values():
        value.zero_()
    assert bool(network.attention[0].weight.any()) and bool(network.attention[1].running_mean.any())


def test_put_weights_are_copies(network: FACMIC, small_clip: dict[str, Any]) -> None:
    other = FACMIC(["a", "b", "c"], clip=small_clip)
    given = {name: torch.full_like(value, 3) for name, value in get_weights(other).items()}
    parameters = {name: network.get_parameter(name) for name in PARAMETERS}
    set_weights(network, {name: value.numpy() for name, value in given.items()})
    assert all(torch.equal(value, given[name]) for name, value in get_weights(network).items())
    assert all(network.get_parameter(name) is value and value.requires_grad for name, value in parameters.items())
    set_weights(network, given)
    for value in given.values():
        value.zero_()
    assert all(bool((value == 3).all()) for value in get_weights(network).values())
    assert not torch.equal(other.attention[3].weight, network.attention[3].weight)


def test_bfloat16_halves_what_real_numbers_weigh(network: FACMIC) -> None:
    full, half = (Manifest.of(network, dtype) for dtype in (FULL, HALF))
    count = "attention.1.num_batches_tracked"
    assert half.tensors[count] == full.tensors[count] == ([], "int64")
    assert {dtype for name, (_, dtype) in half.tensors.items() if name != count} == {"bfloat16"}
    assert half.bytes - 8 == (full.bytes - 8) / 2 and half.frozen == full.frozen
    sent = get_weights(network, HALF)
    half.check(sent, "site 'a'")
    with pytest.raises(ValueError, match="tensor attention.*bfloat16"):
        full.check(sent, "site 'a'")
    before = get_weights(network)
    set_weights(network, sent)
    for name, value in get_weights(network).items():
        assert value.dtype == before[name].dtype  # the network stays in float32
        torch.testing.assert_close(value, before[name], rtol=2**-8, atol=0)
    assert not torch.equal(network.attention[0].weight, before["attention.0.weight"])


def test_the_manifest_of_a_network(network: FACMIC) -> None:
    manifest = Manifest.of(network)
    assert set(manifest.tensors) == PARAMETERS | STATISTICS
    assert manifest.tensors["attention.0.weight"] == ([16, 16], "float32")
    assert manifest.tensors["attention.1.num_batches_tracked"] == ([], "int64")
    assert manifest.bytes == 4 * (2 * (16 * 16 + 16) + 4 * 16) + 8
    assert manifest.bytes == sum(value.numel() * value.element_size() for value in get_weights(network).values())
    manifest.check(get_weights(network), "site")
    manifest.check({name: value.numpy() for name, value in get_weights(network).items()}, "site")


def test_a_manifest_survives_json(network: FACMIC) -> None:
    manifest = Manifest.of(network)
    content = json.loads(json.dumps(manifest.to_json()))
    assert content["bytes"] == manifest.bytes
    again = Manifest.from_json(content)
    assert again == manifest
    again.check(get_weights(network), "site")
    manifest.check_same(again, "site")


def value(number: float) -> Callable[[Weights], Any]:
    return lambda weights: weights["attention.1.running_var"].__setitem__(3, number)


@pytest.mark.parametrize(
    "spoil, named",
    [
        (lambda weights: weights.pop("attention.3.bias"), r"missing \['attention.3.bias'\], unknown \[\]"),
        (lambda weights: weights.update({"visual.proj": torch.zeros(1)}), r"missing \[\], unknown \['visual.proj'\]"),
        (lambda weights: weights.clear(), "missing .*'attention.0.bias', .*unknown .."),
        (lambda weights: weights.update({"attention.3.bias": torch.zeros(17)}),
         r"tensor attention.3.bias: found \(\[17\], 'float32'\), expected \(\[16\], 'float32'\)"),
        (lambda weights: weights.update({"attention.3.bias": torch.zeros(16, 1)}), r"found \(\[16, 1\], 'float32'\)"),
        (lambda weights: weights.update({"attention.3.bias": torch.zeros(16).half()}), r"found \(\[16\], 'float16'\)"),
        (lambda weights: weights.update({"attention.3.bias": np.zeros(16)}), r"found \(\[16\], 'float64'\)"),
        (lambda weights: weights.update({"attention.1.num_batches_tracked": torch.tensor(1.0)}),
         r"found \(\[\], 'float32'\), expected \(\[\], 'int64'\)"),
        (value(float("nan")), "tensor attention.1.running_var: found values that are not finite"),
        (value(float("inf")), "tensor attention.1.running_var: found values that are not finite"),
        (value(float("-inf")), "tensor attention.1.running_var: found values that are not finite"),
    ],
)  # fmt: skip
def test_other_tensors_are_refused(network: FACMIC, spoil: Callable[[Weights], Any], named: str) -> None:
    weights = get_weights(network)
    spoil(weights)
    with pytest.raises(ValueError, match=f"^site 'north': sent weights: .*{named}"):
        Manifest.of(network).check(weights, "site 'north': sent weights")


def test_the_same_network_elsewhere_is_accepted(network: FACMIC, small_clip: dict[str, Any]) -> None:
    other = FACMIC(["a", "b", "c"], clip=small_clip)
    with torch.no_grad():
        other.attention[0].weight.add_(1)  # what travels may differ
    Manifest.of(network).check_same(Manifest.of(other.train()), "site 'north'")


@pytest.mark.parametrize("changed", ["visual.proj", "visual.transformer.resblocks.0.mlp.c_fc.bias", "prompts", "scale"])
def test_other_frozen_weights_are_refused(network: FACMIC, small_clip: dict[str, Any], changed: str) -> None:
    other = FACMIC(["a", "b", "c"], clip=small_clip)
    other.load_state_dict({name: v * 2 if name == changed else v for name, v in other.state_dict().items()})
    expected, found = Manifest.of(network), Manifest.of(other)
    with pytest.raises(ValueError, match=f"site 'north': its frozen weights .*{found.frozen}, .*{expected.frozen}"):
        expected.check_same(found, "site 'north'")


def test_other_classes_are_refused(network: FACMIC, small_clip: dict[str, Any]) -> None:
    other = FACMIC(["a", "c", "b"], clip=small_clip)
    with pytest.raises(ValueError, match="the same foundation weights and class names"):
        Manifest.of(network).check_same(Manifest.of(other), "site 'north'")


def test_another_size_of_the_exchange_is_refused(network: FACMIC, small_clip: dict[str, Any]) -> None:
    other = FACMIC(["a", "b", "c"], clip=small_clip)
    other.attention[3].bias.requires_grad_(False)
    named = re.escape("site 'north': exchanges other tensors than the manifest: ['attention.3.bias']")
    with pytest.raises(ValueError, match=named):
        Manifest.of(network).check_same(Manifest.of(other), "site 'north'")
