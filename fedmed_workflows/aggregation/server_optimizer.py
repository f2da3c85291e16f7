"""What the server's optimisers have in common: the sites' mean difference is taken for a gradient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from fedmed_networks.settings import check_number
from fedmed_workflows.aggregation.aggregation import Aggregated, Before, pieces
from fedmed_workflows.aggregation.fedavg import FedAvg, mean
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import TensorSpecs, Update, Weights

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
        check_number("aggregation: learning_rate", self.learning_rate, above=0)

    def state_specs(self, manifest: Manifest) -> TensorSpecs:
        """``MOMENT.NAME`` of every parameter, and ``unrounded.NAME`` of those that are sent in less than float32."""
        forms: TensorSpecs = {}
        for name, (shape, dtype) in manifest.tensors.items():
            sent = getattr(torch, dtype)
            if sent.is_floating_point and name not in manifest.statistics:
                kept = str(_kept(sent)).removeprefix("torch.")
                forms |= {f"{part}.{name}": (shape, kept) for part in self._parts(sent)}
        return forms

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """A step of every parameter, and the mean of what is none."""
        found = self.in_order(updates)
        shares = list(self.shares(found).values())
        for name, value in before.weights.items():
            if name in before.statistics or not value.is_floating_point():
                yield Aggregated(name, mean(name, found, shares, value), {})
            else:
                yield self._stepped(name, found, shares, before)

    def _stepped(self, name: str, updates: Mapping[str, Update], shares: Sequence[float], before: Before) -> Aggregated:
        """A tensor after the step, and its state; what is in float64 is a piece of it."""
        value = before.weights[name]
        flat, kept = value.flatten(), _kept(value.dtype)
        stepped = torch.empty_like(flat)
        state = {part: torch.empty(flat.shape, dtype=kept) for part in self._parts(value.dtype)}
        for piece, rows in pieces(name, updates, value.numel()):
            begun = flat[piece].double()
            delta = torch.zeros_like(begun)
            for row, share in zip(rows, shares, strict=True):
                delta += (row.double() - begun) * share
            last = self._last(name, piece, begun, before.state)
            direction, new = self.direction(delta, last)
            new[UNROUNDED] = last[UNROUNDED] + self.learning_rate * direction
            stepped[piece] = new[UNROUNDED].to(value.dtype)
            for part, values in state.items():
                values[piece] = new[part].to(kept)
        shaped = {f"{part}.{name}": values.reshape(value.shape) for part, values in state.items()}
        return Aggregated(name, stepped.reshape(value.shape), shaped)

    def _parts(self, sent: torch.dtype) -> tuple[str, ...]:
        """What is kept of a tensor that is sent in a type."""
        return (*self.moments, *((UNROUNDED,) if _kept(sent) != sent else ()))

    def _last(self, name: str, piece: slice, begun: torch.Tensor, state: Mapping[str, torch.Tensor]) -> Weights:
        """The moments of a piece, and the aggregate before it was rounded, in float64."""
        last = {moment: torch.full_like(begun, self.start(moment)) for moment in self.moments} | {UNROUNDED: begun}
        kept = {part: f"{part}.{name}" for part in last if f"{part}.{name}" in state}
        return last | {part: state[key].flatten()[piece].double() for part, key in kept.items()}

    def start(self, moment: str) -> float:
        """A moment's value before round 1."""
        return 0.0

    @abstractmethod
    def direction(self, delta: torch.Tensor, last: Weights) -> tuple[torch.Tensor, Weights]:
        """Where to step, and the new moments, from the mean difference and the last moments, all in float64."""


def _kept(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
