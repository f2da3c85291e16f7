"""Class names as a tensor of a classifier's state, so that a checkpoint names its own classes."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from fedmed_networks.checkpoint_file import own_names, read_checkpoint

CLASS_NAMES = "class_names_utf8"
"""Name of the tensor in a state: the classes as JSON, in UTF-8."""


def checkpoint_class_names(path: str | Path, missing: Sequence[str] | None = None) -> list[str]:
    """Reads the classes of a classifier's checkpoint, in the order of its logits.

    Parameters
    ----------
    path
        A checkpoint of training, see :func:`fedmed_networks.checkpoint_file.read_checkpoint`.
    missing
        The result if the file does not exist yet, because the bundle was not trained.

    Raises
    ------
    FileNotFoundError
        The file does not exist and `missing` is None.
    ValueError
        The file is no classifier's checkpoint.

    Examples
    --------
    >>> from fedmed_networks import checkpoint_class_names
    >>> checkpoint_class_names("models/model.pt", missing=["benign", "malignant"])  # before training
    ['benign', 'malignant']
    """
    if not Path(path).is_file():
        if missing is None:
            raise FileNotFoundError(f"{path}: no such checkpoint")
        return list(missing)
    try:
        state = own_names(read_checkpoint(Path(path), values=False).state, [CLASS_NAMES])
    except ValueError as error:
        raise ValueError(f"{path}: not a classifier's checkpoint: {error}") from error
    if CLASS_NAMES not in state:
        found = f"found {sorted(map(str, state))[:5]}"
        raise ValueError(f"{path}: not a classifier's checkpoint, it has no {CLASS_NAMES}; {found}")
    try:
        names = from_bytes(state[CLASS_NAMES])
    except Exception as error:  # the entry is no tensor of bytes, or they are no JSON
        raise ValueError(f"{path}: {CLASS_NAMES}: expected class names, found {type(error).__name__}") from error
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: {CLASS_NAMES}: expected a list of class names, found {type(names).__name__}")
    return names


def to_bytes(names: Sequence[str]) -> torch.Tensor:
    """Writes class names as a tensor (N,) of bytes."""
    return torch.tensor(list(json.dumps(list(names), ensure_ascii=False).encode()), dtype=torch.uint8)


def from_bytes(stored: torch.Tensor) -> list[str]:
    """Reads the class names from a tensor of :func:`to_bytes`."""
    names: list[str] = json.loads(bytes(stored.cpu().tolist()))
    return names
