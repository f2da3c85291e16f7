"""Exchanged tensors: an update of a site, and how they are read from, written to, and described for a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from fedmed_networks.weights import tensor_digest
from fedmed_workflows.exchange.trainable import exchanged_tensors

Weights = dict[str, torch.Tensor]
"""Exchanged tensors by name, on the CPU."""

TensorSpecs = dict[str, tuple[list[int], str]]
"""Shape and type of tensors by name, for example ``([512, 512], "float32")``."""

FULL, HALF = "float32", "bfloat16"
EXCHANGE_DTYPES = (FULL, HALF)
"""Types in which real numbers are sent. bfloat16 halves the bytes and keeps 8 of 24 bits; sites train in float32."""


@dataclass(frozen=True)
class Update:
    """The answer of a site to a round of training.

    Attributes
    ----------
    weights
        The exchanged tensors by name; a mapping may read each tensor only when it is used.
    samples
        n_k, the number of the site's training samples.
    metrics
        Metrics of the site in this round, for curves; they do not enter the aggregate.

    Examples
    --------
    >>> from torch import nn
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.exchange.weights import get_weights
    >>> sorted(Update(get_weights(nn.Linear(3, 2)), samples=120).weights)
    ['bias', 'weight']
    """

    weights: Mapping[str, torch.Tensor]
    samples: int
    metrics: dict[str, float] = field(default_factory=dict)


class FileWeights(Mapping[str, torch.Tensor]):
    """Exchanged tensors in a file; each tensor is read when it is used.

    Parameters
    ----------
    path
        A safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with safe_open(path, framework="pt") as file:
            self._names = dict.fromkeys(file.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._names:
            raise KeyError(name)
        with safe_open(self.path, framework="pt") as file:
            value: torch.Tensor = file.get_tensor(name)
            return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def get_weights(network: nn.Module, dtype: str = FULL) -> Weights:
    """Copies the exchanged tensors of a network to the CPU, in the type in which they are sent.

    Parameters
    ----------
    network
        The network of a site or of the server.
    dtype
        One of :data:`EXCHANGE_DTYPES`, for real numbers; whole numbers keep their type.
    """
    exchanged = exchanged_tensors(network)
    return {name: value.detach().to(sent_dtype(value, dtype), copy=True).cpu() for name, value in exchanged.items()}


@torch.no_grad()
def set_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes exchanged tensors into a network; check them against the manifest first."""
    for name, value in exchanged_tensors(network).items():
        value.copy_(torch.as_tensor(weights[name]))


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Computes the SHA-256 of names and values of exchanged tensors."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {tensor_digest(weights[name])}\n".encode())
    return digest.hexdigest()


def tensor_spec(value: torch.Tensor) -> tuple[list[int], str]:
    """Returns shape and type of a tensor, for example ``([512, 512], "float32")``."""
    return list(value.shape), dtype_name(value.dtype)


def sent_dtype(value: torch.Tensor, dtype: str) -> torch.dtype:
    """Returns the type in which a tensor is sent, if real numbers are sent in one of :data:`EXCHANGE_DTYPES`."""
    return torch.bfloat16 if dtype == HALF and value.is_floating_point() else value.dtype


def dtype_name(dtype: torch.dtype) -> str:
    """Returns the name of a type without ``torch.``, for example ``float32``."""
    return str(dtype).removeprefix("torch.")
