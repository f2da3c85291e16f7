"""The one predicate of what trains and what travels: what requires a gradient, unless it is marked to stay."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

LOCAL = "stays_at_its_site"
"""Attribute that marks a module whose tensors train and do not travel."""


def trainable_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a network that train, with the statistics of the normalisations that train.

    A parameter trains if it requires a gradient. A buffer is learnt with it if it belongs to a normalisation whose own
    parameters train. Everything else is frozen, and the same at every site.

    Parameters
    ----------
    network
        Any module; whoever builds it freezes what must not train with ``requires_grad_(False)``.

    Returns
    -------
    dict
        The live tensors (not copies) by their name in the state.
    """
    tensors = {name: value for name, value in network.named_parameters() if value.requires_grad}
    for prefix, module in network.named_modules():
        if isinstance(module, _NormBase) and has_trained_parameters(module):
            tensors |= {
                f"{prefix}.{name}" if prefix else name: value for name, value in module.named_buffers(recurse=False)
            }
    return tensors


def exchanged_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """What trains, but for what stays at its site: what travels."""
    local = local_tensors(network)
    return {name: value for name, value in trainable_tensors(network).items() if name not in local}


def local_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """What trains and stays at its site: nothing, unless a module is marked with :data:`LOCAL`."""
    marked = {prefix for prefix, module in network.named_modules() if getattr(module, LOCAL, False)}
    return {name: value for name, value in trainable_tensors(network).items() if name.rpartition(".")[0] in marked}


def has_trained_parameters(module: nn.Module) -> bool:
    """Whether a parameter of the module itself trains, those of modules below it left aside."""
    return any(value.requires_grad for value in module.parameters(recurse=False))


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimiser gets: of all that trains, what is a parameter."""
    return [value for value in trainable_tensors(network).values() if isinstance(value, nn.Parameter)]
