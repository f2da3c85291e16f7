"""Tests a site's state between rounds besides its optimiser: that of the trainer's handlers and of its loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn

from fedmed_workflows.federation.site.site_state import SiteState


class Attracted:
    """A handler that pulls the weights to their mean over all steps so far."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.steps: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._pull)

    def _pull(self, engine: Engine) -> None:
        weight = next(self.network.parameters())
        self.steps.append(weight.detach().clone())
        mean = torch.stack(self.steps).mean(dim=0)
        engine.state.output["loss"] = engine.state.output["loss"] + (weight - mean).square().sum()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = list(state["steps"])


class LearntScale(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
        return ((found * self.scale - expected) ** 2).mean()


class Site:
    """A trainer, its handler, and the state of both and of its loss."""

    def __init__(self, folder: Path) -> None:
        network, self.loss = nn.Linear(2, 1), LearntScale()
        with torch.no_grad():
            network.weight.copy_(torch.tensor([[0.5, -0.25]]))
            network.bias.zero_()
        self.network, self.handler = network, Attracted(network)
        data = [{"image": torch.tensor([[1.0, 2.0]]), "label": torch.tensor([[3.0]])}] * 2
        self.trainer = SupervisedTrainer(
            device="cpu", max_epochs=1, train_data_loader=data, network=network,
            optimizer=torch.optim.Adam([*network.parameters(), *self.loss.parameters()], lr=0.1),
            loss_function=self.loss, train_handlers=[self.handler], decollate=False,
        )  # fmt: skip
        self.state = SiteState(folder)
        self.state.include([self.handler, object(), self.loss])

    def round(self, number: int, weights: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        self.state.restore(self.trainer, number, torch.device("cpu"))
        self.network.load_state_dict(weights or self.network.state_dict())
        self.trainer.state.max_epochs = self.trainer.state.epoch + 1
        self.trainer.run()
        self.state.keep(self.trainer, number, {})
        return {name: value.clone() for name, value in self.network.state_dict().items()}


@pytest.fixture
def whole(tmp_path: Path) -> list[dict[str, torch.Tensor]]:
    """The network after each of three rounds in one process."""
    site = Site(tmp_path / "whole")
    return [site.round(number) for number in (1, 2, 3)]


def test_a_restart_changes_no_bit(whole: list[dict[str, torch.Tensor]], tmp_path: Path) -> None:
    first = Site(tmp_path / "broken")
    first.round(1)
    weights = first.round(2)
    again = Site(tmp_path / "broken").round(3, weights)
    assert all(torch.equal(again[name], value) for name, value in whole[2].items())
    assert not torch.equal(whole[2]["weight"], whole[1]["weight"])


def test_a_broken_off_round_leaves_no_trace(whole: list[dict[str, torch.Tensor]], tmp_path: Path) -> None:
    site = Site(tmp_path / "again")
    start = {name: value.clone() for name, value in site.network.state_dict().items()}
    site.handler.steps, site.loss.scale.data = [torch.full((1, 2), 7.0)], torch.tensor(9.0)  # of a round not kept
    assert torch.equal(site.round(1, start)["weight"], whole[0]["weight"])
    weights = site.round(2)
    site.round(3)
    assert torch.equal(site.round(3, weights)["weight"], whole[2]["weight"])


def test_between_rounds_it_lies_on_the_disk_alone(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.round(1)
    assert site.handler.steps == [] and site.loss.scale == 2
    kept = torch.load(site.state.file(1), weights_only=True)["parts"]
    assert len(kept) == 2 and len(kept[0]["steps"]) == 2 and kept[1]["scale"] != 2
