"""Marks normalisations that train and stay at their sites."""

from __future__ import annotations

from torch import nn

from fedmed_workflows.exchange.trainable import LOCAL, exchanged_tensors, has_trained_parameters


def keep_normalizations_local(network: nn.Module) -> None:
    """Marks the normalisations of a network that train: their parameters and statistics are not exchanged.

    Parameters
    ----------
    network
        The network. Its normalisations are the modules with ``Norm`` in the name of their class.

    Raises
    ------
    ValueError
        No normalisation trains, or nothing but normalisations trains.
    """
    owner = f"aggregation with local normalisations: {type(network).__name__}"
    found = [module for module in network.modules() if _is_normalization(module) and has_trained_parameters(module)]
    if not found:
        raise ValueError(f"{owner}: found no normalisation that trains, expected at least one")
    for module in found:
        setattr(module, LOCAL, True)
    if not exchanged_tensors(network):
        raise ValueError(f"{owner}: found nothing that trains but normalisations, expected something that travels")


def _is_normalization(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__  # SAM's LayerNorm2d and others derive from nn.Module alone
