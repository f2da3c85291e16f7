"""LoRA on a foundation: separate layers for queries and values, while all other layers stay shared."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable

import torch
from peft import LoraConfig
from torch import nn

from fedmed_networks.settings import check_number

_split: weakref.WeakKeyDictionary[nn.Module, list[nn.Linear]] = weakref.WeakKeyDictionary()


def query_value_terms(rank: int, alpha: float) -> LoraConfig:
    """Configures peft's low-rank terms W + (alpha / rank) B A of the layers ``query`` and ``value``.

    Raises
    ------
    ValueError
        The rank is no whole number of at least 1, or alpha is no number above 0.
    """
    check_number("rank", rank, least=1, whole=True)
    check_number("alpha", alpha, above=0)
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=["query", "value"])


def with_own_parts(shared: nn.Module, parts: Iterable[nn.Module]) -> nn.Module:
    """Makes a module that shares the layers and tensors of another one, except for some parts of its own.

    Parameters
    ----------
    shared
        The other module; it is not changed.
    parts
        Modules in `shared` of which the new module gets shallow copies, as of all modules that contain them. These can
        be changed in the new module alone; the tensors and submodules in them are shared.
    """
    own = {id(part) for part in parts}
    own |= {id(module) for module in shared.modules() if any(id(inner) in own for inner in module.modules())}
    held = (*shared.modules(), *shared.parameters(), *shared.buffers())
    return copy.deepcopy(shared, {id(part): part for part in held if id(part) not in own})


def thirds(owner: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> list[nn.Linear]:
    """Splits a frozen projection D -> 3 D into three layers D -> D that share its tensors; always the same layers.

    Parameters
    ----------
    owner
        The module that holds the projection.
    weight, bias
        (3 D, D) and (3 D,), for queries, keys and values.
    """
    if owner not in _split:
        _split[owner] = [_frozen(*part) for part in zip(weight.chunk(3), bias.chunk(3), strict=True)]
    return _split[owner]


def _frozen(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
