"""The cache of computed tensors on disk: features of frozen encoders, slices of volumes, pictures."""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fedmed_networks.weights import tensor_digest

logger = logging.getLogger(__name__)


class TensorCache:
    """A folder of named tensors, each entry under a key. Several processes can share the folder.

    An entry is written under a temporary name, then renamed, and has a checksum. A damaged entry counts as missing.

    Parameters
    ----------
    folder
        The folder of the cache.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> dict[str, torch.Tensor] | None:
        """Reads the tensors of a key; returns None if the entry is missing or damaged."""
        path = self.file(key)
        try:
            with safe_open(path, framework="pt") as entry:
                tensors = {name: entry.get_tensor(name) for name in entry.keys()}
                expected = (entry.metadata() or {}).get("sha256")
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            logger.warning("%s: damaged entry, computed again: %s", path, error)
            return None
        if expected != checksum(tensors):
            logger.warning("%s: damaged entry, computed again: its checksum does not match", path)
            return None
        return tensors

    def put(self, key: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Writes the tensors of a key."""
        path = self.file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        whole = {name: value.contiguous() for name, value in tensors.items()}
        temporary.write_bytes(save(whole, metadata={"sha256": checksum(whole)}))
        os.replace(temporary, path)

    def file(self, key: str) -> Path:
        """Returns the path of the safetensors file of a key. The file may not exist."""
        return self.folder / key[:2] / f"{key}.safetensors"


def checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Returns the SHA-256 digest of the names, shapes, types and values of tensors, to detect a damaged file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensor_digest(tensors[name])}\n".encode())
    return digest.hexdigest()
