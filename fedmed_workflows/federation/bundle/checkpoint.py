"""A trained network's file: written whole or not at all, loaded with errors that name it."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from torch import nn

from fedmed_transforms.whole_file import whole_file


def save_network(network: nn.Module, path: Path) -> Path:
    """Writes a whole network as ``{"model": state}``, as MONAI's and MONAI Label's loaders expect it."""
    with whole_file(path) as temporary, temporary.open("wb") as file:  # given a name, torch would write it down
        torch.save({"model": network.state_dict()}, file)
    return path


def continued_network(network: nn.Module, checkpoint: str | Path | None = None) -> nn.Module:
    """A network with the weights of a checkpoint, or as it is if there is none to go on from.

    What is computed once before training, as the features of a frozen encoder, must come from these weights: MONAI's
    CheckpointLoader loads them when training starts, which is too late.

    Parameters
    ----------
    network
        It is changed.
    checkpoint
        ``{"model": state}`` or a plain state, as training writes them.

    Raises
    ------
    ValueError
        There is no such file, or its weights are of another network; the message names it.
    """
    if checkpoint is not None:
        NamedCheckpointLoader(str(checkpoint), {"model": network}, map_location="cpu")(Engine(lambda *_: None))
    return network


class NamedCheckpointLoader(CheckpointLoader):
    """MONAI's CheckpointLoader, whose errors name the checkpoint.

    Raises
    ------
    ValueError
        There is no such file, its weights have other names or shapes than the network's, or other classes.
    """

    def __call__(self, engine: Engine) -> None:
        """Loads the checkpoint when the engine starts."""
        if not Path(self.load_path).is_file():
            raise ValueError(f"{self.load_path}: no such checkpoint; train first, or name one with --ckpt_path")
        try:
            super().__call__(engine)
        except Exception as error:  # torch has one of its own for every way a file can be no checkpoint
            raise ValueError(f"{self.load_path}: this checkpoint does not fit the network: {error}") from error
