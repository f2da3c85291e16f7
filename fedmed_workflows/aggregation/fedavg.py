"""FedAvg: federated averaging, the mean weighted by the sites' numbers of samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before, pieces
from fedmed_workflows.exchange.weights import Update


class FedAvg(Aggregation):
    """Averages the sites' tensors with the weights n_k / sum n.

    Integer tensors, for example a count of batches, are not averaged: the largest value is taken.

    Notes
    -----
    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    arXiv 1602.05629, algorithm 1: w(t+1) = sum n_k / n w_k(t+1).

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, FedAvg
    >>> updates = {"a": Update({"w": torch.tensor([1.0])}, 30), "b": Update({"w": torch.tensor([5.0])}, 10)}
    >>> next(FedAvg().aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([2.])
    """

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """Yields the weighted mean of every tensor."""
        found = self.in_order(updates)
        shares = list(self.shares(found).values())
        for name, last in before.weights.items():
            yield Aggregated(name, mean(name, found, shares, last), {})

    def shares(self, updates: Mapping[str, Update]) -> dict[str, float]:
        """Returns the weight of every site in the mean, in the order of the updates; the weights sum to 1."""
        total = sum(update.samples for update in updates.values())
        return {site: update.samples / total for site, update in updates.items()}


def mean(name: str, updates: Mapping[str, Update], shares: Sequence[float], last: torch.Tensor) -> torch.Tensor:
    """Returns the weighted mean of a tensor, or the largest value of an integer tensor, in shape and type of `last`.

    Parameters
    ----------
    name
        Name of the tensor.
    updates
        The sites' updates.
    shares
        Weights of the updates, in their order.
    last
        The tensor of the round before.
    """
    value = torch.empty(last.numel(), dtype=last.dtype)
    for piece, rows in pieces(name, updates, last.numel()):
        value[piece] = _mean(rows, shares).to(last.dtype) if last.is_floating_point() else rows.amax(dim=0)
    return value.reshape(last.shape)


def _mean(rows: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for row, share in zip(rows, shares, strict=True):  # (n, length) -> (length,)
        total += row.double() * share
    return total
