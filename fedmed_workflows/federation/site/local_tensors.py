"""Normalisations that train and stay at their sites."""

from __future__ import annotations

import torch
from torch import nn

from fedmed_workflows.exchange.local_normalization import keep_normalizations_local
from fedmed_workflows.exchange.trainable import local_tensors
from fedmed_workflows.exchange.weights import Weights
from fedmed_workflows.federation.site.site_state import SiteState


class LocalTensors:
    """What trains at a site and stays there, apart from the network: as it began, and as the last whole round left it.

    Parameters
    ----------
    network
        The site's, as the seed made it.
    state
        Keeps them between rounds.
    normalizations
        Whether :func:`keep_normalizations_local` is called first; else nothing stays.
    """

    def __init__(self, network: nn.Module, state: SiteState, normalizations: bool) -> None:
        self.network, self.state = network, state
        if normalizations:
            keep_normalizations_local(network)
        self._untrained = self._taken()
        self.load_last()

    def __len__(self) -> int:
        return len(self._untrained)

    def load_last(self) -> None:
        """From now on, those of the last round whose state is kept."""
        self._last = (self._untrained and self.state.local()) or self._untrained

    def trained(self) -> Weights:
        """From now on, and for the state: those of the network."""
        self._last = self._taken()
        return self._last

    @torch.no_grad()
    def put(self, untrained: bool = False) -> None:
        """Writes them into the network, whatever a broken-off round left there."""
        for name, value in local_tensors(self.network).items():
            value.copy_((self._untrained if untrained else self._last)[name])

    def _taken(self) -> Weights:
        return {name: value.detach().to("cpu", copy=True) for name, value in local_tensors(self.network).items()}
