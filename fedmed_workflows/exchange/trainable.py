"""Trainable, exchanged and local tensors: a tensor that trains is exchanged, unless its module is marked to stay."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

LOCAL = "stays_at_its_site"
"""Attribute that marks a module with tensors that train and are not exchanged."""


def trainable_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the tensors of a network that train, with the statistics of the normalisations that train.

    A parameter trains if it requires a gradient. A buffer belongs to the trainable tensors if it is part of a
    normalisation with trainable parameters of its own. All other tensors are frozen, and the same at every site.

    Parameters
    ----------
    network
        Any module; its frozen parameters are set to ``requires_grad_(False)``.

    Returns
    -------
    dict
        The tensors themselves (not copies) by their name in the state.
    """
    tensors = {name: value for name, value in network.named_parameters() if value.requires_grad}
    for prefix, module in network.named_modules():
        if isinstance(module, _NormBase) and has_trained_parameters(module):
            tensors |= {
                f"{prefix}.{name}" if prefix else name: value for name, value in module.named_buffers(recurse=False)
            }
    return tensors


def exchanged_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the tensors that are exchanged: the trainable tensors without the local ones."""
    local = local_tensors(network)
    return {name: value for name, value in trainable_tensors(network).items() if name not in local}


def local_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the trainable tensors that stay at their site: those of modules that are marked with :data:`LOCAL`."""
    marked = {prefix for prefix, module in network.named_modules() if getattr(module, LOCAL, False)}
    return {name: value for name, value in trainable_tensors(network).items() if name.rpartition(".")[0] in marked}


def has_trained_parameters(module: nn.Module) -> bool:
    """Tells whether a parameter of the module itself trains; parameters of its submodules do not count."""
    return any(value.requires_grad for value in module.parameters(recurse=False))


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Returns the trainable parameters of a network, for its optimiser.

    Examples
    --------
    >>> from torch import nn
    >>> from fedmed_workflows import trainable_parameters
    >>> network = nn.Sequential(nn.Linear(4, 3).requires_grad_(False), nn.Linear(3, 2))
    >>> [tuple(value.shape) for value in trainable_parameters(network)]
    [(2, 3), (2,)]
    """
    return [value for value in trainable_tensors(network).values() if isinstance(value, nn.Parameter)]
