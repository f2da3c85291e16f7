"""The manifest of an exchange: names, shapes and types of the exchanged tensors, and the digest of the frozen ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fedmed_networks.weights import module_digest, tensor_digest
from fedmed_workflows.errors import ManifestError
from fedmed_workflows.exchange.trainable import exchanged_tensors, trainable_tensors
from fedmed_workflows.exchange.weights import FULL, TensorSpecs, dtype_name, sent_dtype, tensor_spec


@dataclass(frozen=True)
class Manifest:
    """Describes the exchanged tensors, and identifies the frozen part that server and sites must have in common.

    Attributes
    ----------
    tensors
        ``(shape, dtype)`` by name, for example ``([512, 512], "float32")``.
    frozen
        Digest of the frozen part of the network. It is not exchanged and must be the same at every site.
    statistics
        Names of the tensors that no optimiser trains: the statistics of normalisations.
    """

    tensors: TensorSpecs
    frozen: str
    statistics: frozenset[str] = frozenset()

    @classmethod
    def of(cls, network: nn.Module, dtype: str = FULL) -> Manifest:
        """Makes the manifest of a network; its real numbers are sent in one of the types of :data:`EXCHANGE_DTYPES`."""
        exchanged = exchanged_tensors(network)
        tensors = {name: (list(value.shape), dtype_name(sent_dtype(value, dtype))) for name, value in exchanged.items()}
        statistics = frozenset(name for name, value in exchanged.items() if not isinstance(value, nn.Parameter))
        return cls(tensors, _frozen_digest(network, set(trainable_tensors(network))), statistics)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Manifest:
        """Reads the manifest from the plain data of :meth:`to_json`."""
        tensors = {name: (list(entry["shape"]), str(entry["dtype"])) for name, entry in content["tensors"].items()}
        return cls(tensors, str(content["frozen"]), frozenset(content.get("statistics", ())))

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest as plain data, for JSON."""
        tensors = {name: {"shape": shape, "dtype": dtype} for name, (shape, dtype) in self.tensors.items()}
        statistics = sorted(self.statistics)
        return {"tensors": tensors, "frozen": self.frozen, "statistics": statistics, "bytes": self.bytes}

    @property
    def bytes(self) -> int:
        """Number of bytes of the exchanged values in one direction."""
        return sum(
            torch.Size(shape).numel() * torch.empty(0, dtype=getattr(torch, dtype)).element_size()
            for shape, dtype in self.tensors.values()
        )

    def check(self, weights: Mapping[str, Any], sender: str) -> None:
        """Refuses tensors that differ from those of the manifest.

        Raises
        ------
        ManifestError
            A name is missing or unknown, a shape or type differs, or a value is not finite; the message names the
            sender and the tensor, what was found and what was expected.
        """
        if set(weights) != set(self.tensors):
            missing, unknown = sorted(set(self.tensors) - set(weights)), sorted(set(weights) - set(self.tensors))
            raise ManifestError(
                f"{sender}: its tensors do not match the manifest: missing {missing}, unknown {unknown}"
            )
        for name, expected in self.tensors.items():
            value = torch.as_tensor(weights[name])
            if tensor_spec(value) != expected:
                raise ManifestError(f"{sender}: tensor {name}: found {tensor_spec(value)}, expected {expected}")
            if not bool(torch.isfinite(value).all()):
                raise ManifestError(f"{sender}: tensor {name}: found values that are not finite")

    def check_same(self, other: Manifest, owner: str) -> None:
        """Refuses a network with other exchanged tensors, or with another frozen part.

        Raises
        ------
        ManifestError
            The message names the owner of the other manifest and the difference.
        """
        if other.tensors != self.tensors:
            names = {*self.tensors, *other.tensors}
            differing = sorted(name for name in names if self.tensors.get(name) != other.tensors.get(name))
            raise ManifestError(f"{owner}: exchanges other tensors than the manifest: {differing}")
        if other.frozen != self.frozen:
            raise ManifestError(
                f"{owner}: its frozen weights have digest {other.frozen}, the manifest expects {self.frozen}; "
                "every site needs the same foundation weights and class names"
            )


def _frozen_digest(network: nn.Module, exchanged: set[str]) -> str:
    """Computes the digest of all frozen tensors. A module without exchanged tensors is hashed once in a process."""
    digest = hashlib.sha256()
    for name, child in network.named_children():
        if not any(other.startswith(f"{name}.") for other in exchanged):
            digest.update(f"{name} {module_digest(child)}\n".encode())
        else:
            inner = {other.removeprefix(f"{name}.") for other in exchanged if other.startswith(f"{name}.")}
            digest.update(f"{name} {_frozen_digest(child, inner)}\n".encode())
    own = {name: value for name, value in network.state_dict().items() if "." not in name and name not in exchanged}
    for name, value in own.items():
        digest.update(f"{name} {tensor_digest(value)}\n".encode())
    return digest.hexdigest()
