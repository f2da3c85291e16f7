"""The record of a foundation's weights: where they came from, and the digests of the file and of the tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fedmed_networks.file_digests import loaded_digest
from fedmed_networks.weights import module_digest


@dataclass(frozen=True)
class FoundationWeights:
    """The weights that were loaded into a foundation. The record is made after loading, from what was loaded.

    Attributes
    ----------
    kind, name
        Kind and name of the foundation, for example ``CLIP`` and ``ViT-B-32-quickgelu``. A name of sizes is their JSON.
    source
        ``tag openai``, ``file sam_vit_b.pth``, ``hf-hub:org/repository``, ``local-dir:folder``, or
        ``random, seed 20241014``. A path is reduced to its last part, as the record leaves the machine.
    file
        Name of the file that was loaded; None for random weights.
    file_sha256
        SHA-256 of the file's bytes; None for random weights.
    tensors_sha256
        SHA-256 of names, shapes, types and values of the loaded tensors, see
        :func:`fedmed_networks.weights.module_digest`.
    """

    kind: str
    name: str
    source: str
    file: str | None
    file_sha256: str | None
    tensors_sha256: str

    @property
    def random(self) -> bool:
        """Whether no file was loaded."""
        return self.file is None

    def to_json(self) -> dict[str, Any]:
        """Returns the record as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        if self.random:
            return f"{self.kind} has random weights ({self.source.removeprefix('random, ')})"
        tensors = f"SHA-256 of the tensors {self.tensors_sha256}"
        return f"{self.kind} has the weights of {self.source} ({self.file}, SHA-256 {self.file_sha256}; {tensors})"


def loaded_weights(kind: str, name: str, module: nn.Module, source: str, file: Path) -> FoundationWeights:
    """Records the weights of a file that was loaded into a module."""
    return FoundationWeights(kind, name, source, file.name, loaded_digest(file), module_digest(module))


def random_weights(kind: str, name: str, module: nn.Module, seed: int) -> FoundationWeights:
    """Records weights that were drawn with a seed."""
    return FoundationWeights(kind, name, f"random, seed {seed}", None, None, module_digest(module))
