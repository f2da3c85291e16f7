"""Digests of weights: of a file, and of a module as it is in memory now."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

_digests: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], str]] = weakref.WeakKeyDictionary()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def module_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and values of a module's state.

    It is computed again only when a tensor was written to or moved since: torch counts in-place writes in a tensor's
    version. Writes through ``tensor.data`` are not counted; write under ``torch.no_grad()`` instead.

    Parameters
    ----------
    module
        Any module. Its tensors may be on any device; values are hashed as they are stored.
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
    """SHA-256 of a tensor's shape, type and values as they are stored."""
    digest = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """A configuration without the proxies that a configuration parser wraps around it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


NAMED = 3
"""How many names of tensors an error lists."""


def differing_shapes(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """``name: found (…), expected (…)`` of every tensor of both whose shapes differ."""
    return [
        f"{name}: found {tuple(found[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in found and found[name].shape != value.shape
    ]


def content_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of all files below a folder."""
    path = Path(path)
    if path.is_file():
        return file_digest(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path)} {file_digest(file)}\n".encode())
    return digest.hexdigest()
