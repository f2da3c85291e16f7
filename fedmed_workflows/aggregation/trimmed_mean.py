"""TrimmedMean: the mean of the sites' values without the largest and the smallest ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fedmed_networks.settings import check_number
from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before
from fedmed_workflows.aggregation.median import middle_means
from fedmed_workflows.exchange.weights import Update


@dataclass(frozen=True)
class TrimmedMean(Aggregation):
    """Averages the sites' values, element by element, without the `trimmed` largest and the `trimmed` smallest ones.

    All sites have the same weight. Integer tensors are not averaged: the largest remaining value is taken.

    Parameters
    ----------
    trimmed
        Number of values that are left out at either end, beta * n in the paper, at least 1. As many sites may send
        arbitrary updates; more than two times as many must contribute to every round.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", arXiv 1803.01498,
    definition 2.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, TrimmedMean
    >>> updates = {site: Update({"w": torch.tensor([value])}, 1) for site, value in zip("abcde", (1.0, 3.0, 99.0))}
    >>> next(TrimmedMean(trimmed=1).aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([3.])
    """

    trimmed: int = 1

    def __post_init__(self) -> None:
        check_number("aggregation: trimmed", self.trimmed, least=1, whole=True)

    @property
    def least_sites(self) -> int:
        """The least number of sites: one value is left after trimming."""
        return 2 * self.trimmed + 1

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """Yields the trimmed mean of every tensor."""
        return middle_means(self.in_order(updates), before, self.trimmed)
