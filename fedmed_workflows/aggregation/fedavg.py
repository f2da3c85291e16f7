"""Federated averaging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before, pieces
from fedmed_workflows.exchange.weights import Update


class FedAvg(Aggregation):
    """The mean of the sites' tensors, weighted by n_k / sum n.

    Integer tensors (a count of batches) are not averaged: the largest is taken.

    Notes
    -----
    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    arXiv 1602.05629, algorithm 1: w(t+1) = sum n_k / n w_k(t+1).
    """

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """The weighted mean of every tensor."""
        found = self.in_order(updates)
        shares = list(self.shares(found).values())
        for name, last in before.weights.items():
            yield Aggregated(name, mean(name, found, shares, last), {})

    def shares(self, updates: Mapping[str, Update]) -> dict[str, float]:
        """Every site's weight in the mean, in the order of the updates; they sum to 1."""
        total = sum(update.samples for update in updates.values())
        return {site: update.samples / total for site, update in updates.items()}


def mean(name: str, updates: Mapping[str, Update], shares: Sequence[float], last: torch.Tensor) -> torch.Tensor:
    """A tensor's mean with these weights, of integers the largest; in the shape and type of the last aggregate's."""
    value = torch.empty(last.numel(), dtype=last.dtype)
    for piece, rows in pieces(name, updates, last.numel()):
        value[piece] = _mean(rows, shares).to(last.dtype) if last.is_floating_point() else rows.amax(dim=0)
    return value.reshape(last.shape)


def _mean(rows: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for row, share in zip(rows, shares, strict=True):
        total += row.double() * share
    return total
