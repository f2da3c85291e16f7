"""Federated averaging without the normalisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fedmed_workflows.aggregation.fedavg import FedAvg
from fedmed_workflows.exchange.weights import Update


class FedBN(FedAvg):
    """The mean of the sites' tensors, all sites alike; the normalisations that train stay at their sites.

    Neither their parameters nor their statistics travel, and nothing overwrites them. Whoever never trained, the unseen
    site and the federation's ``model.pt``, has the normalisations that the network began with.

    Notes
    -----
    Source: Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", arXiv 2102.07623,
    algorithm 1: w(t+1) = 1 / K sum w_k(t+1) of every layer that is no batch normalisation. Here every normalisation
    stays, so that it means the same of networks with layer normalisations.
    """

    local_normalization: ClassVar[bool] = True
    notes: ClassVar[tuple[str, ...]] = (
        "FedBN: each training site is scored with its own normalisations; the unseen site and model.pt have those that "
        "the network began with.",
    )

    def shares(self, updates: Mapping[str, Update]) -> dict[str, float]:
        """1 / K of every site."""
        return dict.fromkeys(updates, 1 / len(updates))
