"""What a site and the aggregation exchange: what trains travels unless it is marked to stay; a manifest checks it."""

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


def get_weights(network: nn.Module, dtype: str = FULL) -> Weights:
    """Copies of the exchanged tensors, on the CPU, in the type they are sent in (whole numbers in their own)."""
    exchanged = exchanged_tensors(network)
    return {name: value.detach().to(_sent(value, dtype), copy=True).cpu() for name, value in exchanged.items()}


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the names and values of exchanged tensors."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {tensor_digest(weights[name])}\n".encode())
    return digest.hexdigest()


@torch.no_grad()
def set_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes exchanged tensors into a network; check them against the manifest first."""
    for name, value in exchanged_tensors(network).items():
        value.copy_(torch.as_tensor(weights[name]))


class FileWeights(Mapping[str, torch.Tensor]):
    """Exchanged tensors that stay in their file, each read when it is asked for.

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


def _sent(value: torch.Tensor, dtype: str) -> torch.dtype:
    return torch.bfloat16 if dtype == HALF and value.is_floating_point() else value.dtype


def tensor_spec(value: torch.Tensor) -> tuple[list[int], str]:
    """Shape and type of a tensor, for example ``([512, 512], "float32")``."""
    return list(value.shape), _named(value.dtype)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Update:
    """What a site sends after a round.

    Attributes
    ----------
    weights
        The exchanged tensors; a mapping that reads each of them when it is asked for will do.
    samples
        n_k, the number of the site's training samples.
    metrics
        The round's figures of the site, for curves; they do not enter the aggregate.
    """

    weights: Mapping[str, torch.Tensor]
    samples: int
    metrics: dict[str, float] = field(default_factory=dict)
