"""Median: the aggregate has the median of the sites' values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before, pieces
from fedmed_workflows.exchange.weights import Update


class Median(Aggregation):
    """Takes the median of the sites' values, element by element.

    All sites have the same weight. With an even number of sites the mean of the middle two values is taken. Integer
    tensors are not averaged: the larger one of the middle two is taken.

    Notes
    -----
    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", arXiv 1803.01498,
    definition 1.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, Median
    >>> updates = {site: Update({"w": torch.tensor([value])}, 1) for site, value in zip("abcde", (1.0, 3.0, 99.0))}
    >>> next(Median().aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([3.])
    """

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """Yields the median of every tensor."""
        found = self.in_order(updates)
        return middle_means(found, before, (len(found) - 1) // 2)


def middle_means(updates: Mapping[str, Update], before: Before, trimmed: int) -> Iterator[Aggregated]:
    """Yields the mean of the middle values, element by element: without the `trimmed` largest and smallest values.

    Integers are not averaged: the largest of the middle values is taken. All sites have the same weight.

    Parameters
    ----------
    updates
        More than two times `trimmed` updates.
    before
        The server's tensors after the round before.
    trimmed
        Number of values that are left out at either end.
    """
    for name, last in before.weights.items():
        value = torch.empty(last.numel(), dtype=last.dtype)
        for part, values in pieces(name, updates, last.numel()):
            value[part] = _mean(values.sort(dim=0).values[trimmed : len(updates) - trimmed])
        yield Aggregated(name, value.reshape(last.shape), {})


def _mean(rows: torch.Tensor) -> torch.Tensor:
    """Returns the mean of sorted rows, or the last row of integers: (n, length) -> (length,)."""
    if not rows.is_floating_point():
        return rows[-1]
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for row in rows:
        total += row.double()
    return total / len(rows)
