"""Trained tensors that stay at their site, such as normalisation layers."""

from __future__ import annotations

import torch
from torch import nn

from fedmed_workflows.exchange.local_normalization import keep_normalizations_local
from fedmed_workflows.exchange.trainable import local_tensors
from fedmed_workflows.exchange.weights import Weights
from fedmed_workflows.federation.site.site_state import SiteState


class LocalTensors:
    """Copies of the tensors that train at a site and stay there: untrained, and after the last complete round.

    Parameters
    ----------
    network
        The network of the site, as initialized from the seed.
    state
        The state of the site, which keeps the tensors between rounds.
    normalizations
        Whether to call :func:`keep_normalizations_local` first. Without the call no tensor stays at the site.
    """

    def __init__(self, network: nn.Module, state: SiteState, normalizations: bool) -> None:
        self.network, self.state = network, state
        if normalizations:
            keep_normalizations_local(network)
        self._untrained = self._copies()
        self.load_last()

    def __len__(self) -> int:
        return len(self._untrained)

    def load_last(self) -> None:
        """Loads the tensors that the last kept round saved, or the untrained tensors before round 1."""
        self._last = (self._untrained and self.state.local()) or self._untrained

    def trained(self) -> Weights:
        """Copies the tensors of the trained network; returns the copies for the state of the site."""
        self._last = self._copies()
        return self._last

    @torch.no_grad()
    def set_weights(self, untrained: bool = False) -> None:
        """Writes the tensors into the network, over those that an interrupted round left there."""
        for name, value in local_tensors(self.network).items():
            value.copy_((self._untrained if untrained else self._last)[name])

    def _copies(self) -> Weights:
        return {name: value.detach().to("cpu", copy=True) for name, value in local_tensors(self.network).items()}
