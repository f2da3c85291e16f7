"""A file of ONNX opened in ONNX Runtime, by the providers that were asked for and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Provider = str | tuple[str, Mapping[str, Any]]
"""Name of an execution provider of ONNX Runtime, or ``(name, options)``."""


def onnx_session(path: Path, providers: Sequence[Provider]) -> Any:
    """An inference session of ONNX Runtime, with as many threads as torch has.

    Parameters
    ----------
    path
        The network.
    providers
        In the order of preference.

    Raises
    ------
    ValueError
        ONNX Runtime is not installed, has none of the providers named first, or the file is no ONNX.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            f"{path}: needs the package onnxruntime, found none; expected pip install 'fedmed[onnx]'"
        ) from error
    chosen = [_named(provider) for provider in providers]
    available = onnxruntime.get_available_providers()
    missing = [name for name, _ in chosen if name not in available]
    if missing:
        raise ValueError(
            f"{path}: ONNX Runtime has no {', '.join(missing)} here, only {available}; providers of NVIDIA's GPUs are "
            "in the package onnxruntime-gpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except Exception as error:  # ONNX Runtime has one of its own for every way a file can be no network
        raise ValueError(f"{path}: expected a network in ONNX, found: {error}") from error
    _check_provider(path, chosen[0][0], session.get_providers())
    return session


def _named(provider: Provider) -> tuple[str, Mapping[str, Any]]:
    return (provider, {}) if isinstance(provider, str) else (provider[0], dict(provider[1]))


def _check_provider(path: Path, first: str, used: Sequence[str]) -> None:
    """ONNX Runtime goes on without a provider whose libraries it cannot load, and says so in its log alone."""
    if first not in used:
        raise ValueError(f"{path}: ONNX Runtime could not start {first} and fell back to {list(used)}; see its log")
