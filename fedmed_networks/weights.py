"""Digests of files, modules and tensors, and comparisons of the shapes of two states."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

NAMED = 3
"""Number of tensor names that an error message lists."""

DIGEST = "sha256"
"""Entry of the digest in the metadata of a saved state."""

_digests: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], str]] = weakref.WeakKeyDictionary()


def file_digest(path: Path) -> str:
    """Computes the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_digest(path: str | Path) -> str:
    """Computes the SHA-256 of a file's bytes, or of the names and bytes of all files below a folder."""
    path = Path(path)
    if path.is_file():
        return file_digest(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path)} {file_digest(file)}\n".encode())
    return digest.hexdigest()


def module_digest(module: nn.Module) -> str:
    """Computes the SHA-256 of names, shapes, types and values of a module's state.

    The digest is computed again only after a tensor was written or moved: torch counts in-place writes in a tensor's
    version. Writes through ``tensor.data`` are not counted; write under ``torch.no_grad()`` instead.

    Parameters
    ----------
    module
        Any module, with tensors on any device; the stored values are hashed.
    """
    state = module.state_dict(keep_vars=True)
    written = tuple(number for tensor in state.values() for number in (id(tensor), tensor.data_ptr(), tensor._version))
    known = _digests.get(module)
    if known is not None and known[0] == written:
        return known[1]
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor_digest(tensor)}".encode())
    _digests[module] = (written, digest.hexdigest())
    return digest.hexdigest()


def tensor_digest(tensor: torch.Tensor) -> str:
    """Computes the SHA-256 of shape, type and stored values of a tensor."""
    digest = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Computes the SHA-256 of names, shapes, types and values of a state, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tensor_digest(state[name])}\n".encode())
    return digest.hexdigest()


def check_state_digest(state: Mapping[str, Any], prefix: str, metadata: Mapping[str, Any]) -> None:
    """Refuses a state with other values than those that were saved, by the digest in the metadata of a saved state.

    Parameters
    ----------
    state, prefix, metadata
        The arguments of ``_load_from_state_dict``. A state without the digest, or a part of one, is not compared.

    Raises
    ------
    ValueError
        The values are not those that were saved.
    """
    expected = None if prefix else metadata.get(DIGEST)
    if expected is not None and state_digest(state) != expected:
        raise ValueError(
            f"checkpoint: found tensors of the SHA-256 {state_digest(state)}, expected {expected} as its metadata say: "
            "it is damaged or was changed after it was saved; values that you changed yourself load as dict(state)"
        )


def plain(value: Any) -> Any:
    """Returns the plain values of a configuration, without the proxies of its parser."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def differing_shapes(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Lists ``name: found (…), expected (…)`` for every tensor with different shapes in two states."""
    return [
        f"{name}: found {tuple(found[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]
