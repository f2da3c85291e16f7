"""Checkpoints: files of trained networks, with error messages that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from torch import nn

from fedmed_transforms.whole_file import whole_file


def save_network(network: nn.Module, path: Path) -> Path:
    """Saves a whole network as ``{"model": state}``, the format of MONAI's and MONAI Label's loaders.

    The file holds tensors of the CPU, so that a network that was trained on a GPU is read by machines without one.
    """
    state = network.state_dict()
    for name, value in state.items():
        state[name] = value.cpu()
    with whole_file(path) as temporary, temporary.open("wb") as file:  # torch would write a name into the file
        torch.save({"model": state}, file)
    return path


def continued_network(network: nn.Module, checkpoint: str | Path | None = None) -> nn.Module:
    """Loads a checkpoint into a network; without a checkpoint the network stays unchanged.

    The features of a frozen encoder are computed once, before training, and must come from these weights. MONAI's
    CheckpointLoader would load them later, when training starts.

    Parameters
    ----------
    network
        The network; its weights are replaced.
    checkpoint
        A file with ``{"model": state}`` or with a plain state.

    Raises
    ------
    ValueError
        The file does not exist, or its weights are of another network; the message names the file.
    """
    if checkpoint is not None:
        NamedCheckpointLoader(str(checkpoint), {"model": network})(Engine(lambda *_: None))
    return network


class NamedCheckpointLoader(CheckpointLoader):
    """MONAI's CheckpointLoader, with error messages that name the checkpoint.

    Parameters
    ----------
    load_path
        The file.
    load_dict
        The network under its name in the file; its tensors keep their device.
    map_location
        Device on which the file is read. With the CPU, the default, a machine without a GPU reads a GPU's checkpoint.
    others
        The other parameters of MONAI's CheckpointLoader.

    Raises
    ------
    ValueError
        The file does not exist, or its weights have other names, shapes or classes than the network.
    """

    def __init__(
        self, load_path: str, load_dict: dict[str, Any], map_location: Any = "cpu", **others: Any
    ) -> None:
        super().__init__(load_path, load_dict, map_location=map_location, **others)

    def __call__(self, engine: Engine) -> None:
        """Loads the checkpoint when the engine starts."""
        if not Path(self.load_path).is_file():
            raise ValueError(f"{self.load_path}: no such checkpoint; train first, or name one with --ckpt_path")
        try:
            super().__call__(engine)
        except Exception as error:  # torch raises many types for a file that is no checkpoint
            raise ValueError(f"{self.load_path}: this checkpoint does not fit the network: {error}") from error
