"""What LoRA needs of a foundation's attention: layers of its own for queries and values, and all else shared."""

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
    """Low-rank terms W + (alpha / rank) B A of the layers ``query`` and ``value``, for peft.

    Raises
    ------
    ValueError
        The rank is no whole number from 1, or alpha no number above 0.
    """
    check_number("rank", rank, least=1, whole=True)
    check_number("alpha", alpha, above=0)
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=["query", "value"])


def with_own_parts(shared: nn.Module, parts: Iterable[nn.Module]) -> nn.Module:
    """A module of the same layers and tensors as another, but for some of its parts, which can be changed in it alone.

    Parameters
    ----------
    shared
        Is left as it is.
    parts
        Those of its modules that become the new one's own, with all that contain them; what is in them is shared.
    """
    own = {id(part) for part in parts}
    own |= {id(module) for module in shared.modules() if any(id(inner) in own for inner in module.modules())}
    held = (*shared.modules(), *shared.parameters(), *shared.buffers())
    return copy.deepcopy(shared, {id(part): part for part in held if id(part) not in own})


def thirds(owner: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> list[nn.Linear]:
    """A frozen projection D -> 3 D as three layers D -> D of the same tensors; asked for again, the same layers.

    Parameters
    ----------
    owner
        The module that holds the projection.
    weight, bias
        (3 D, D) and (3 D,): of queries, keys and values.
    """
    if owner not in _split:
        _split[owner] = [_frozen(*part) for part in zip(weight.chunk(3), bias.chunk(3), strict=True)]
    return _split[owner]


def _frozen(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
