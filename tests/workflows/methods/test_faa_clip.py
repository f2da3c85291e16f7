"""FAA-CLIP's adversarial loss by hand, what its gradient reaches, and its forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fedmed_networks import FACMIC
from fedmed_workflows import ContrastiveLoss
from fedmed_workflows.exchange.trainable import exchanged_tensors, trainable_parameters
from fedmed_workflows.methods.faa_clip import AdversarialInferer, FAACLIPLoss


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FACMIC:
    torch.manual_seed(0)
    return FACMIC(["a", "b", "c"], clip=small_clip).train()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features and labels of a source, and features of a target."""
    random = torch.Generator().manual_seed(1)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    return torch.randn(6, 16, generator=random), labels, torch.randn(6, 16, generator=random) + 1


def test_the_adversarial_loss_by_hand(network: FACMIC) -> None:
    loss = FAACLIPLoss(network)
    loss.domain_classifier = nn.Linear(2, 1)  # of logits 2 x + y - 1
    with torch.no_grad():
        loss.domain_classifier.weight.copy_(torch.tensor([[2.0, 1.0]]))
        loss.domain_classifier.bias.fill_(-1)
    source = torch.tensor([[1.0, 0.0], [0.0, 0.0]], requires_grad=True)  # logits 1, -1
    target = torch.tensor([[0.0, 3.0]])  # logit 2
    found = loss.adversarial(source, target)
    of_source = (np.log(1 + np.exp(-1)) + np.log(1 + np.exp(1))) / 2
    assert float(found) == pytest.approx((of_source + np.log(1 + np.exp(2))) / 2, rel=1e-6)
    found.backward()
    # d/dlogit of -log p is p - 1; halved for the mean over two and again for that of the domains; sign reversed
    p = 1 / (1 + np.exp([-1.0, 1.0]))
    np.testing.assert_allclose(source.grad, -np.outer((p - 1) / 4, [2, 1]), rtol=1e-5)
    ascent = np.array([[1.0, 0.0], [0.0, 0.0]]).T @ ((p - 1) / 4) + np.array([0.0, 3.0]) / (1 + np.exp(-2.0)) / 2
    np.testing.assert_allclose(loss.domain_classifier.weight.grad[0], ascent, rtol=1e-5)


def test_the_loss_is_contrastive_plus_half_the_adversarial(network: FACMIC, batch: Any) -> None:
    features, labels, target = batch
    loss = FAACLIPLoss(network)
    step = AdversarialInferer()(features, network, target=target)
    contrastive = ContrastiveLoss()(step.source, network.prompts[labels], network.scale)
    expected = contrastive + 0.5 * loss.adversarial(step.source, step.target)
    torch.testing.assert_close(loss(step, labels), expected)
    alone = AdversarialInferer()(features, network)
    expected = ContrastiveLoss()(alone.source, network.prompts[labels], network.scale)
    torch.testing.assert_close(loss(alone, labels), expected)


def test_both_sides_are_adapted_and_the_target_carries_no_gradient(network: FACMIC, batch: Any) -> None:
    features, _, target = batch
    step = AdversarialInferer()(features, network, target=target)
    assert network.attention[1].num_batches_tracked == 2  # both passed in training mode
    assert step.source.requires_grad and not step.target.requires_grad
    again = functional.normalize(network.attention(target) * target, dim=1)
    torch.testing.assert_close(step.target, again)


def test_the_classifier_trains_with_the_network_and_does_not_travel(network: FACMIC, batch: Any) -> None:
    features, labels, target = batch
    loss = FAACLIPLoss(network)
    optimised = trainable_parameters(nn.ModuleList([network, loss]))
    assert {id(value) for value in optimised} == {
        id(value) for value in (*network.attention.parameters(), *loss.parameters())
    }
    assert all(name.startswith("attention.") for name in exchanged_tensors(network))
    loss(AdversarialInferer()(features, network, target=target), labels).backward()
    assert all(value.grad is not None for value in optimised)


def test_the_attention_learns_to_fool_and_the_classifier_to_tell(network: FACMIC, batch: Any) -> None:
    features, _, target = batch
    loss, inferer = FAACLIPLoss(network), AdversarialInferer()
    step = inferer(features, network, target=target)
    before = loss.adversarial(step.source, step.target)
    before.backward()

    def after(module: nn.Module, rate: float) -> float:
        """The loss after a step of one of the two down its gradient, which is then taken back."""
        with torch.no_grad():
            for value in module.parameters():
                value -= rate * value.grad
            found = inferer(features, network, target=target)
            changed = float(loss.adversarial(found.source, step.target))
            for value in module.parameters():
                value += rate * value.grad
        return changed

    assert after(loss.domain_classifier, 0.01) < float(before) < after(network.attention, 0.01)
