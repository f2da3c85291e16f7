"""The median of the sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before, pieces
from fedmed_workflows.exchange.weights import Update


class Median(Aggregation):
    """Of every single number: the median of the sites' values, of an even number of sites the mean of the middle two.

    All sites weigh the same. Integer tensors are not averaged: of the middle two the larger is taken.

    Notes
    -----
    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", arXiv 1803.01498,
    definition 1.
    """

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """The median of every tensor."""
        found = self.in_order(updates)
        return middle_means(found, before, (len(found) - 1) // 2)


def middle_means(updates: Mapping[str, Update], before: Before, trimmed: int) -> Iterator[Aggregated]:
    """Of every number: the mean of what is left without the `trimmed` largest and as many smallest values.

    Integers are not averaged: the largest that is left is taken. All sites weigh the same.

    Parameters
    ----------
    updates
        More than two times `trimmed`.
    before
        Of the round before.
    trimmed
        Left out at either end.
    """
    for name, last in before.weights.items():
        value = torch.empty(last.numel(), dtype=last.dtype)
        for part, values in pieces(name, updates, last.numel()):
            value[part] = _mean(values.sort(dim=0).values[trimmed : len(updates) - trimmed])
        yield Aggregated(name, value.reshape(last.shape), {})


def _mean(rows: torch.Tensor) -> torch.Tensor:
    """Of sorted rows; of integers the last."""
    if not rows.is_floating_point():
        return rows[-1]
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for row in rows:
        total += row.double()
    return total / len(rows)
