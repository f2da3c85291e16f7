"""Checkpoints: files of trained networks, with error messages that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader, CheckpointSaver
from torch import nn

from fedmed_networks.checkpoint_file import own_names, read_state
from fedmed_networks.file_digests import SUMS, check_digest, read_digests
from fedmed_networks.weights import DIGEST, file_digest, state_digest
from fedmed_transforms.whole_file import whole_file, write_whole


def save_network(network: nn.Module, path: Path) -> Path:
    """Saves the state of a whole network, as MONAI's model zoo keeps it and all of MONAI's loaders read it.

    The digest of the tensors goes into the metadata of the state, so that the network itself refuses a damaged one,
    also where a program of another package reads the file. The file holds tensors of the CPU, so that a network that
    was trained on a GPU is read by machines without one.
    """
    state = network.state_dict()
    for name, value in state.items():
        state[name] = value.cpu()
    state._metadata[""][DIGEST] = state_digest(state)  # state_dict() makes new metadata in each call
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
        The file does not exist, is not the one that ``SHA256SUMS`` in its folder lists, or its weights have other
        names, shapes or classes than the network.
    """

    def __init__(
        self, load_path: str, load_dict: dict[str, Any], map_location: Any = "cpu", **others: Any
    ) -> None:
        super().__init__(load_path, load_dict, map_location=map_location, **others)

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


def write_digests(folder: Path, files: Iterable[Path]) -> Path:
    """Writes the list of a folder, with the SHA-256 of files in the folder or beside it."""
    return _write(folder / SUMS, {Path(os.path.relpath(file, folder)).as_posix(): file_digest(file) for file in files})


def update_digest(file: Path) -> None:
    """Lists the SHA-256 of a file that was written again, if the folder of the file has a list."""
    sums = file.parent / SUMS
    if sums.is_file() and file.is_file():
        _write(sums, {**read_digests(sums), file.name: file_digest(file)})


class DigestCheckpointSaver(CheckpointSaver):
    """MONAI's CheckpointSaver; it also lists the SHA-256 of the best network, where the folder has ``SHA256SUMS``.

    A trained bundle has this list. Without the new digest its inference would refuse the network that was trained
    further.

    Examples
    --------
    >>> from torch import nn
    >>> from fedmed_workflows import DigestCheckpointSaver
    >>> saver = DigestCheckpointSaver("models", {"model": nn.Linear(2, 2)}, save_key_metric=True)
    >>> saver.save_dir  # .attach(evaluator) saves the best network there
    'models'
    """

    def metrics_completed(self, engine: Engine) -> None:
        """Saves the network if its metric is the best one, and lists its digest."""
        super().metrics_completed(engine)
        for file in Path(self.save_dir).glob("*.pt"):
            update_digest(file)


def _write(sums: Path, digests: Mapping[str, str]) -> Path:
    write_whole(sums, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
    return sums
