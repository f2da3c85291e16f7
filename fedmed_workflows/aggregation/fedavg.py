"""Federated averaging."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch

from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before, Update


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
        shares = self.shares(found)
        for name in before.weights:
            yield Aggregated(name, mean((found[site].weights[name], share) for site, share in shares.items()), {})

    def shares(self, updates: Mapping[str, Update]) -> dict[str, float]:
        """Every site's weight in the mean; they sum to 1."""
        total = sum(update.samples for update in updates.values())
        return {site: update.samples / total for site, update in updates.items()}


def mean(parts: Iterable[tuple[torch.Tensor, float]]) -> torch.Tensor:
    """The mean of (value, share), of integers the largest; one value is held at a time, as it may lie on a disk."""
    total: torch.Tensor | None = None
    for value, share in parts:
        real = value.is_floating_point()
        part = value.double() * share if real else value
        if total is None:
            total = part.clone()
        elif real:
            total += part
        else:
            total = torch.maximum(total, part)
    assert total is not None
    return total.to(value.dtype)
