"""What the server's optimisers have in common: the sites' mean difference is taken for a gradient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from fedmed_workflows.aggregation.aggregation import Aggregated, Before, Update
from fedmed_workflows.aggregation.fedavg import FedAvg, mean
from fedmed_workflows.aggregation.setting import check_number
from fedmed_workflows.exchange import Forms, Manifest, Weights

UNROUNDED = "unrounded"
"""Prefix of the aggregate as the server goes on from it, where it is sent in a narrower type than float32."""


@dataclass(frozen=True)
class ServerOptimizer(FedAvg):
    """A step of an optimiser on the server: x(t+1) = x(t) + learning_rate * direction(delta(t)).

    delta(t) = sum n_k / n (x_k(t) - x(t)), with x(t) as the sites received it. The moments are kept in float32 (in
    float64 of tensors in float64). Statistics of normalisations and integers are no parameters: they are averaged as
    by :class:`FedAvg`, as a step beyond the mean could make a variance negative.

    Parameters
    ----------
    learning_rate
        Of the server.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Reddi et al., "Adaptive Federated Optimization", arXiv 2003.00295, algorithm 1, with the weights n_k / n.
    """

    learning_rate: float

    moments: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, 0, open_start=True)

    def state_forms(self, manifest: Manifest) -> Forms:
        """``MOMENT.NAME`` of every parameter, and ``unrounded.NAME`` of those that are sent in less than float32."""
        forms: Forms = {}
        for name, (shape, dtype) in manifest.tensors.items():
            sent = getattr(torch, dtype)
            if sent.is_floating_point and name not in manifest.statistics:
                kept = str(_kept(sent)).removeprefix("torch.")
                names = (*self.moments, *((UNROUNDED,) if _kept(sent) != sent else ()))
                forms |= {f"{part}.{name}": (shape, kept) for part in names}
        return forms

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """A step of every parameter, and the mean of what is none."""
        found = self.in_order(updates)
        shares = self.shares(found)
        for name, value in before.weights.items():
            sent = {site: found[site].weights for site in shares}
            if name in before.statistics or not value.is_floating_point():
                yield Aggregated(name, mean((sent[site][name], share) for site, share in shares.items()), {})
            else:
                delta = torch.zeros(value.shape, dtype=torch.float64)
                for site, share in shares.items():
                    delta += (sent[site][name].double() - value.double()) * share
                yield self._stepped(name, value, delta, before.state)

    def _stepped(
        self, name: str, value: torch.Tensor, delta: torch.Tensor, before: Mapping[str, torch.Tensor]
    ) -> Aggregated:
        last = {moment: _last(before, f"{moment}.{name}", self.start(moment), delta) for moment in self.moments}
        direction, moments = self.direction(delta, last)
        unrounded = f"{UNROUNDED}.{name}"
        stepped = before.get(unrounded, value).double() + self.learning_rate * direction
        kept: Weights = {f"{moment}.{name}": moments[moment] for moment in self.moments}
        kept |= {unrounded: stepped} if _kept(value.dtype) != value.dtype else {}
        state = {key: each.to(_kept(value.dtype)) for key, each in kept.items()}
        return Aggregated(name, stepped.to(value.dtype), state)

    def start(self, moment: str) -> float:
        """A moment's value before round 1."""
        return 0.0

    @abstractmethod
    def direction(self, delta: torch.Tensor, last: Weights) -> tuple[torch.Tensor, Weights]:
        """Where to step, and the new moments, from the mean difference and the last moments, all in float64."""


def _kept(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _last(state: Mapping[str, torch.Tensor], name: str, start: float, like: torch.Tensor) -> torch.Tensor:
    return state[name].double() if state else torch.full_like(like, start)
