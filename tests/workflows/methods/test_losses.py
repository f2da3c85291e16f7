"""The two losses of FACMIC: against the published implementation, against their formulas, and at their edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from fedmed_workflows import ContrastiveLoss, LMMDLoss

CASES = ("bt_batch32", "skin_batch32", "small", "class_missing_in_source", "no_shared_class", "binary_batch4")


def random_batches(sources: int, targets: int, classes: int, dim: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Source and target features, labels of the source, class probabilities of the target."""
    random = torch.Generator().manual_seed(seed)
    source, target = (
        functional.normalize(torch.randn(count, dim, generator=random), dim=1) for count in (sources, targets)
    )
    labels = torch.randint(classes, (sources,), generator=random)
    return source, target, labels, torch.randn(targets, classes, generator=random).mul(2).softmax(dim=1)


def loss_and_gradients(
    loss: Any, source: torch.Tensor, target: torch.Tensor, *rest: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source, target = source.clone().requires_grad_(), target.clone().requires_grad_()
    value = loss(source, target, *rest)
    value.backward()
    assert source.grad is not None and target.grad is not None
    return value.detach(), source.grad, target.grad


def slow_lmmd(source: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """The formula as it is written: every pair of features side by side, a weight matrix for each kind of pair."""
    features, n, b = torch.cat([source, target]), len(source) + len(target), len(source)
    distances = (features[:, None, :] - features[None, :, :]).square().sum(dim=2)
    bandwidth = distances.detach().sum() / (n**2 - n)
    kernel = torch.stack([torch.exp(-distances / (bandwidth * 2**i / 4)) for i in range(5)]).sum(dim=0)
    shared = sorted(set(labels.tolist()) & set(p.argmax(dim=1).tolist()))
    loss = source.new_zeros(())
    for c in shared:
        w_source = (labels == c).to(source) / (labels == c).sum()
        w_target = p[:, c] / p[:, c].sum()
        loss = loss + (torch.outer(w_source, w_source) * kernel[:b, :b]).sum() / len(shared)
        loss = loss + (torch.outer(w_target, w_target) * kernel[b:, b:]).sum() / len(shared)
        loss = loss - 2 * (torch.outer(w_source, w_target) * kernel[:b, b:]).sum() / len(shared)
    return loss


@pytest.mark.parametrize("case", CASES)
def test_lmmd_of_the_published_implementation(golden: dict[str, torch.Tensor], case: str) -> None:
    inputs = [golden[f"lmmd/{case}/{name}"] for name in ("source", "target", "label", "target_prob")]
    loss, of_source, of_target = loss_and_gradients(LMMDLoss(), *inputs)
    np.testing.assert_allclose(loss, golden[f"lmmd/{case}/loss"].squeeze(), rtol=1e-5, atol=1e-7)
    for gradient, name in ((of_source, "grad_source"), (of_target, "grad_target")):
        expected = golden[f"lmmd/{case}/{name}"]
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()), err_msg=name)


@pytest.mark.parametrize(
    "sources, targets, classes, dim", [(8, 8, 3, 16), (5, 9, 4, 8), (12, 4, 2, 32), (1, 6, 2, 4), (6, 1, 3, 4)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_lmmd_of_the_literal_formula(sources: int, targets: int, classes: int, dim: int, seed: int) -> None:
    source, target, labels, p = random_batches(sources, targets, classes, dim, seed)
    labels[0] = p[0].argmax()  # at least one class is shared
    inputs = source.double(), target.double(), labels, p.double()
    for found, expected in zip(loss_and_gradients(LMMDLoss(), *inputs), loss_and_gradients(slow_lmmd, *inputs)):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_lmmd_falls_as_the_target_nears_its_class() -> None:
    centres = torch.eye(4)[:2]
    labels = torch.arange(8) % 2
    p = functional.one_hot(labels, 2).float()
    source = centres[labels] + 0.1 * torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    near, far = (float(LMMDLoss()(source, source[:, order], labels, p)) for order in ([0, 1, 2, 3], [2, 3, 0, 1]))
    swapped = float(LMMDLoss()(source, source[:, [1, 0, 2, 3]], labels, p))  # same cloud, classes exchanged
    assert near == pytest.approx(0, abs=1e-6)
    assert far > 0.5 and swapped > 0.5


@pytest.mark.parametrize("sources, targets", [(8, 8), (32, 32), (5, 7)])
@pytest.mark.parametrize("dim", [8, 100, 512])
def test_lmmd_of_equal_features_is_zero(sources: int, targets: int, dim: int) -> None:
    source, _, labels, p = random_batches(sources, targets, 3, dim, seed=dim)
    labels[:3], p[:3] = torch.arange(3), torch.eye(3)
    one = source[:1]
    results = loss_and_gradients(LMMDLoss(), one.repeat(sources, 1), one.repeat(targets, 1), labels, p)
    assert all(not bool(value.any()) for value in results)  # NaN would be true


def test_lmmd_without_a_shared_class_is_zero() -> None:
    source, target, _, _ = random_batches(4, 4, 3, 8, seed=0)
    p = torch.tensor([[0.1, 0.5, 0.4]]).repeat(4, 1)
    for labels in (torch.tensor([0, 0, 2, 2]), torch.tensor([2, 2, 2, 2])):
        assert all(not bool(value.any()) for value in loss_and_gradients(LMMDLoss(), source, target, labels, p))
    assert float(LMMDLoss()(source, target, torch.tensor([0, 1, 2, 2]), p)) > 0


def test_no_gradient_flows_through_the_probabilities() -> None:
    source, target, labels, p = random_batches(8, 8, 2, 8, seed=0)
    p.requires_grad_()
    source.requires_grad_()
    LMMDLoss()(source, target, labels, p).backward()
    assert source.grad is not None and bool(source.grad.any()) and p.grad is None


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returns, forward and backward."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_lmmd_never_holds_an_array_of_all_pairs_of_features() -> None:
    inputs = random_batches(128, 128, 7, 512, seed=0)
    n, dim = 256, 512
    with Largest() as largest:
        loss_and_gradients(LMMDLoss(), *inputs)
    assert n * n <= largest.elements <= 5 * n * n < n * n * dim / 10


def test_contrastive_by_hand() -> None:
    # logits [[2, 0], [1.2, 1.6]]: cross-entropy of the rows, then of the columns, with targets 0 and 1
    features, prompts = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.eye(2)
    rows = [math.log(1 + math.exp(0 - 2)), math.log(1 + math.exp(1.2 - 1.6))]
    columns = [math.log(1 + math.exp(1.2 - 2)), math.log(1 + math.exp(0 - 1.6))]
    expected = (sum(rows) / 2 + sum(columns) / 2) / 2
    for scale in (2.0, torch.tensor(2.0)):
        assert float(ContrastiveLoss()(features, prompts, scale)) == pytest.approx(expected, rel=1e-6)


def test_contrastive_counts_images_of_one_class_as_negatives() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # both images of the first class fit both of its prompts equally well: no loss below log 2 for them
    loss = float(ContrastiveLoss()(features, features, 100.0))
    assert loss == pytest.approx(2 * math.log(2) / 3, rel=1e-5)


def test_contrastive_weighs_images_and_prompts_alike() -> None:
    random = torch.Generator().manual_seed(0)
    features, prompts = (functional.normalize(torch.randn(6, 8, generator=random), dim=1) for _ in range(2))
    one, other = ContrastiveLoss()(features, prompts, 10.0), ContrastiveLoss()(prompts, features, 10.0)
    torch.testing.assert_close(one, other)
