"""FedBN: federated averaging without the normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fedmed_workflows.aggregation.fedavg import FedAvg
from fedmed_workflows.exchange.weights import Update


class FedBN(FedAvg):
    """Averages the sites' tensors with equal weights; the normalisations that train stay at their sites.

    Parameters and statistics of these normalisations are not exchanged, and nothing overwrites them. The unseen site
    and the federation's ``model.pt`` keep the normalisations that the network had before round 1.

    Notes
    -----
    Source: Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", arXiv 2102.07623,
    algorithm 1: w(t+1) = 1 / K sum w_k(t+1) of every layer that is no batch normalisation. Here every kind of
    normalisation stays at its site, so that the method also applies to networks with layer normalisations.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, FedBN
    >>> updates = {"a": Update({"w": torch.tensor([1.0])}, 30), "b": Update({"w": torch.tensor([5.0])}, 10)}
    >>> next(FedBN().aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([3.])
    """

    local_normalization: ClassVar[bool] = True
    notes: ClassVar[tuple[str, ...]] = (
        "FedBN: each training site is scored with its own normalisations; the unseen site and model.pt have those that "
        "the network began with.",
    )

    def shares(self, updates: Mapping[str, Update]) -> dict[str, float]:
        """Returns 1 / K for every site."""
        return dict.fromkeys(updates, 1 / len(updates))
