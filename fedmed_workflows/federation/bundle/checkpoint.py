"""Checkpoints: files of trained networks, with error messages that name the file."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from torch import nn

from fedmed_networks.checkpoint_file import own_names, read_state
from fedmed_networks.file_digests import check_digest
from fedmed_networks.weights import DIGEST, state_digest
from fedmed_transforms.whole_file import whole_file


def save_network(network: nn.Module, path: Path) -> Path:
    """Saves the state of a whole network, as MONAI's model zoo keeps it and all of MONAI's loaders read it.

    The digest of the tensors goes into the metadata of the state, so that the network itself refuses a damaged one,
    also where a program of another package reads the file.
    """
    state = network.state_dict()
    state._metadata[""][DIGEST] = state_digest(state)  # a copy: state_dict() makes new metadata in each call
    with whole_file(path) as temporary, temporary.open("wb") as file:  # torch would write a name into the file
        torch.save(state, file)
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
        A plain state, or another layout of :func:`fedmed_networks.checkpoint_file.read_checkpoint`.

    Raises
    ------
    ValueError
        The file does not exist, or its weights are of another network; the message names the file.
    """
    if checkpoint is not None:
        NamedCheckpointLoader(str(checkpoint), {"model": network}, map_location="cpu")(Engine(lambda *_: None))
    return network


class NamedCheckpointLoader(CheckpointLoader):
    """MONAI's CheckpointLoader, with error messages that name the checkpoint.

    Raises
    ------
    ValueError
        The file does not exist, is not the one that ``SHA256SUMS`` in its folder lists, or its weights have other
        names, shapes or classes than the network.
    """

    def __call__(self, engine: Engine) -> None:
        """Loads the checkpoint when the engine starts."""
        if not Path(self.load_path).is_file():
            raise ValueError(f"{self.load_path}: no such checkpoint; train first, or name one with --ckpt_path")
        check_digest(self.load_path)
        try:
            self._load(engine)
        except Exception as error:  # torch raises many types for a file that is no checkpoint
            cause = str(error).removeprefix(f"{self.load_path}: ")
            raise ValueError(f"{self.load_path}: this checkpoint does not fit the network: {cause}") from error

    def _load(self, engine: Engine) -> None:
        networks = [loaded for loaded in self.load_dict.values() if isinstance(loaded, nn.Module)]
        if len(networks) != 1 or len(self.load_dict) != 1:  # training goes on, with an optimizer and its counters
            super().__call__(engine)
            return
        state = read_state(Path(self.load_path))
        networks[0].load_state_dict(own_names(state, networks[0].state_dict()), strict=self.strict)
        self.logger.info("Restored all variables from %s", self.load_path)
