"""FedProx's term, computed by hand, and what it does to a training step."""

from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedTrainer
from torch import nn

from fedmed_workflows.methods.fedprox import FedProx


def network() -> nn.Linear:
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0]]))
        linear.bias.fill_(3.0)
    return linear


def trainer(linear: nn.Module, mu: float, steps: int, rate: float = 0.1) -> SupervisedTrainer:
    return SupervisedTrainer(
        device="cpu", max_epochs=1, network=linear, optimizer=torch.optim.SGD(linear.parameters(), lr=rate),
        train_data_loader=[{"image": torch.tensor([[1.0, 0.0]]), "label": torch.tensor([[0.0]])}] * steps,
        loss_function=lambda found, expected: (found - expected).sum(), train_handlers=[FedProx(linear, mu)],
        decollate=False,
    )  # fmt: skip


def test_the_term_is_half_mu_times_the_squared_distance() -> None:
    linear = network()
    handler = FedProx(linear, mu=0.5)
    handler._receive(trainer(linear, 0.0, 1))
    with torch.no_grad():
        linear.weight += torch.tensor([[3.0, -4.0]])
        linear.bias += 2.0
    term = handler.term()
    assert term.item() == pytest.approx(0.5 / 2 * (9 + 16 + 4))
    term.backward()
    assert linear.weight.grad is not None and linear.bias.grad is not None
    assert linear.weight.grad.tolist() == [[1.5, -2.0]] and linear.bias.grad.tolist() == [1.0]  # mu (w - w_received)


def test_frozen_weights_do_not_count() -> None:
    linear = network()
    linear.bias.requires_grad_(False)
    handler = FedProx(linear, mu=2.0)
    handler._receive(trainer(linear, 0.0, 1))
    with torch.no_grad():
        linear.weight += 1.0
        linear.bias += 100.0
    assert handler.term().item() == pytest.approx(2.0)


def test_steps_of_a_trainer_by_hand() -> None:
    """Loss w1 + b of gradient (1, 0 | 1): w1 = 1 - 0.1, then 1 - 0.1 - 0.1 (1 + mu (w1 - 1)); each run starts anew."""
    linear = network()
    run = trainer(linear, mu=5.0, steps=2)
    run.run()
    assert linear.weight.tolist() == [[pytest.approx(0.9 - 0.1 * (1 - 0.5)), 2.0]]
    assert linear.bias.tolist() == [pytest.approx(2.9 - 0.1 * (1 - 0.5))]
    distances = 2 * 0.1**2
    assert run.state.output["loss"].item() == pytest.approx(0.9 + 2.9 + 5 / 2 * distances)
    before = linear.weight[0, 0].item()
    run.state.max_epochs += 1
    run.run()
    assert linear.weight[0, 0].item() == pytest.approx(before - 0.1 - 0.1 * (1 - 0.5))


def test_without_mu_nothing_changes() -> None:
    plain, held = network(), network()
    trainer(held, 0.0, 3).run()
    for _ in range(3):
        with torch.no_grad():
            plain.weight -= 0.1 * torch.tensor([[1.0, 0.0]])
            plain.bias -= 0.1
    assert torch.allclose(plain.weight, held.weight) and torch.allclose(plain.bias, held.bias)


@pytest.mark.parametrize("mu", [-0.1, float("nan")])
def test_a_mu_out_of_range_is_refused(mu: float) -> None:
    with pytest.raises(ValueError, match=f"mu: found {mu}, expected a (finite )?number of at least 0"):
        FedProx(network(), mu)
