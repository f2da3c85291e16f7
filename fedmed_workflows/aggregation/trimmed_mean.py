"""The mean of the sites without the largest and the smallest values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fedmed_networks.settings import check_number
from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before
from fedmed_workflows.aggregation.median import middle_means
from fedmed_workflows.exchange.weights import Update


@dataclass(frozen=True)
class TrimmedMean(Aggregation):
    """Of every single number: the mean of the sites' values without the `trimmed` largest and as many smallest.

    All sites weigh the same. Integer tensors are not averaged: the largest that is left is taken.

    Parameters
    ----------
    trimmed
        Values that are left out at either end, beta * n in the paper, at least 1: as many sites may be wrong. More than
        two times as many must contribute to every round.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", arXiv 1803.01498,
    definition 2.
    """

    trimmed: int = 1

    def __post_init__(self) -> None:
        check_number("aggregation: trimmed", self.trimmed, least=1, whole=True)

    @property
    def least_sites(self) -> int:
        """One is left."""
        return 2 * self.trimmed + 1

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """The trimmed mean of every tensor."""
        return middle_means(self.in_order(updates), before, self.trimmed)
