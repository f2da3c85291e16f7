"""The update that lies nearest to its neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedmed_networks.settings import check_number
from fedmed_workflows.aggregation.aggregation import Aggregated, Aggregation, Before, pieces
from fedmed_workflows.exchange.weights import Update


@dataclass(frozen=True)
class Krum(Aggregation):
    """One site's update, whole: the one with the smallest sum of squared distances to its n - f - 2 nearest others.

    Distances are taken over the parameters, not over the statistics of normalisations and counts, and all sites weigh
    the same. Of equal sums the site whose name comes first is chosen.

    Parameters
    ----------
    byzantine
        f, the sites that may be wrong. n >= 2 f + 3 sites must contribute to every round.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017,
    section 4: s(i) = sum over the n - f - 2 nearest j of |V_i - V_j|^2.
    """

    byzantine: int = 1

    def __post_init__(self) -> None:
        check_number("aggregation: byzantine", self.byzantine, least=0, whole=True)

    @property
    def least_sites(self) -> int:
        """n >= 2 f + 3."""
        return 2 * self.byzantine + 3

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """The chosen site's tensors."""
        found = self.in_order(updates)
        chosen = list(found.values())[int(np.argmin(self._scores(found, before)))]
        for name in before.weights:
            yield Aggregated(name, chosen.weights[name], {})

    def _scores(self, updates: Mapping[str, Update], before: Before) -> NDArray[np.float64]:
        """s(i) of every site."""
        distances = _squared_distances(updates, before)
        np.fill_diagonal(distances, np.inf)
        return np.sort(distances, axis=1)[:, : len(updates) - self.byzantine - 2].sum(axis=1)


def _squared_distances(updates: Mapping[str, Update], before: Before) -> NDArray[np.float64]:
    """(n, n) in float64, summed in the order of the tensors' names.

    In NumPy, whose sums do not depend on the number of threads, as a choice hangs on them.
    """
    distances = np.zeros((len(updates), len(updates)))
    for name in sorted(before.weights):
        last = before.weights[name]
        if last.is_floating_point() and name not in before.statistics:
            for _, values in pieces(name, updates, last.numel()):
                distances += _of_piece(values)
    return distances


def _of_piece(values: torch.Tensor) -> NDArray[np.float64]:
    rows = values.double().numpy()
    distances = np.zeros((len(rows), len(rows)))
    for one, other in itertools.combinations(range(len(rows)), 2):
        distances[one, other] = distances[other, one] = np.square(rows[one] - rows[other]).sum()
    return distances
