"""Krum: the aggregate is the one update that lies nearest to its neighbours."""

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
    """Selects the update with the smallest sum of squared distances to its n - f - 2 nearest other updates.

    Distances are taken over the parameters, without counts and the statistics of normalisations, and all sites have
    the same weight. If sums are equal, the site whose name comes first is selected.

    Parameters
    ----------
    byzantine
        f, the number of sites whose updates may be arbitrary. n >= 2 f + 3 sites must contribute to every round.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017,
    section 4: s(i) = sum over the n - f - 2 nearest j of |V_i - V_j|^2.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, Krum
    >>> sent = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 2.5, "e": 99.0}
    >>> updates = {site: Update({"w": torch.tensor([value])}, 1) for site, value in sent.items()}
    >>> next(Krum(byzantine=1).aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([2.5000])
    """

    byzantine: int = 1

    def __post_init__(self) -> None:
        check_number("aggregation: byzantine", self.byzantine, least=0, whole=True)

    @property
    def least_sites(self) -> int:
        """The least number of sites, 2 f + 3."""
        return 2 * self.byzantine + 3

    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """Yields the tensors of the selected site."""
        found = self.in_order(updates)
        chosen = list(found.values())[int(np.argmin(self._scores(found, before)))]
        for name in before.weights:
            yield Aggregated(name, chosen.weights[name], {})

    def _scores(self, updates: Mapping[str, Update], before: Before) -> NDArray[np.float64]:
        """Returns s(i) of every site, (n,)."""
        distances = _squared_distances(updates, before)
        np.fill_diagonal(distances, np.inf)
        return np.sort(distances, axis=1)[:, : len(updates) - self.byzantine - 2].sum(axis=1)


def _squared_distances(updates: Mapping[str, Update], before: Before) -> NDArray[np.float64]:
    """Returns the squared distances (n, n) in float64, summed in the order of the tensors' names.

    NumPy computes them: its sums do not depend on the number of threads, and the selection depends on these sums.
    """
    distances = np.zeros((len(updates), len(updates)))
    for name in sorted(before.weights):
        last = before.weights[name]
        if last.is_floating_point() and name not in before.statistics:
            for _, values in pieces(name, updates, last.numel()):
                distances += _of_piece(values)
    return distances


def _of_piece(values: torch.Tensor) -> NDArray[np.float64]:
    rows = values.double().numpy()  # (n, length)
    distances = np.zeros((len(rows), len(rows)))
    for one, other in itertools.combinations(range(len(rows)), 2):
        distances[one, other] = distances[other, one] = np.square(rows[one] - rows[other]).sum()
    return distances
