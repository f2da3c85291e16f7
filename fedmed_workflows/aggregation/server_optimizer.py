"""The base of optimisers on the server: the mean difference of the sites takes the place of a gradient."""

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
"""Prefix of the server's own copy of the aggregate, where the aggregate is sent in a narrower type than float32."""


@dataclass(frozen=True)
class ServerOptimizer(FedAvg):
    """Steps with an optimiser on the server: x(t+1) = x(t) + learning_rate * direction(delta(t)).

    delta(t) = sum n_k / n (x_k(t) - x(t)), with x(t) as the sites received it. The moments are kept in float32, or in
    float64 for tensors in float64. Integers and the statistics of normalisations are averaged as by :class:`FedAvg`:
    they are no parameters, and a step beyond the mean could make a variance negative.

    Parameters
    ----------
    learning_rate
        Learning rate of the server, above 0.

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
        """Returns the specs of ``MOMENT.NAME`` and, for parameters that are sent in bfloat16, ``unrounded.NAME``."""
        specs: TensorSpecs = {}
        for name, (shape, dtype) in manifest.tensors.items():
            sent = getattr(torch, dtype)
            if sent.is_floating_point and name not in manifest.statistics:
                kept = str(_kept(sent)).removeprefix("torch.")
                specs |= {f"{part}.{name}": (shape, kept) for part in self._parts(sent)}
        return specs

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """Yields every parameter after its step, and the mean of every other tensor."""
        found = self.in_order(updates)
        shares = list(self.shares(found).values())
        for name, value in before.weights.items():
            if name in before.statistics or not value.is_floating_point():
                yield Aggregated(name, mean(name, found, shares, value), {})
            else:
                yield self._stepped(name, found, shares, before)

    def _stepped(self, name: str, updates: Mapping[str, Update], shares: Sequence[float], before: Before) -> Aggregated:
        """Returns a tensor after the step, and its state; only one piece at a time is in float64."""
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
        """Returns the names of the state that is kept for a tensor sent in this type."""
        return (*self.moments, *((UNROUNDED,) if _kept(sent) != sent else ()))

    def _last(self, name: str, piece: slice, begun: torch.Tensor, state: Mapping[str, torch.Tensor]) -> Weights:
        """Returns the moments of a piece, and the aggregate before it was rounded, in float64."""
        last = {moment: torch.full_like(begun, self.start(moment)) for moment in self.moments} | {UNROUNDED: begun}
        kept = {part: f"{part}.{name}" for part in last if f"{part}.{name}" in state}
        return last | {part: state[key].flatten()[piece].double() for part, key in kept.items()}

    def start(self, moment: str) -> float:
        """Returns the value of a moment before round 1."""
        return 0.0

    @abstractmethod
    def direction(self, delta: torch.Tensor, last: Weights) -> tuple[torch.Tensor, Weights]:
        """Returns the direction of the step and the new moments, from delta and the last moments, all in float64."""


def _kept(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
