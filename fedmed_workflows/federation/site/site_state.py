"""The state of a site between rounds, on its disk: optimiser, handlers, loss and the tensors that stay at the site."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from monai.engines import SupervisedTrainer

from fedmed_workflows.exchange.weights import Weights

KEPT_STATES = 2
"""Number of rounds whose state is kept: the last, and the one before, from which an interrupted round starts again."""


class SiteState:
    """Saves and restores the state of a site's trainer, in one file for each complete round.

    Parameters
    ----------
    folder
        Folder of the site's state.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._parts: list[Any] = []
        self._begun: list[Any] = []

    def include(self, parts: Iterable[Any]) -> None:
        """Also saves the state of handlers and loss between rounds.

        Parameters
        ----------
        parts
            Handlers and loss, as they are before round 1. A part has a state if it has ``state_dict()`` and
            ``load_state_dict()``. A state consists of tensors, plain values, and dictionaries and lists of these.
            Between rounds each part has its state of before round 1.
        """
        self._parts = [part for part in parts if hasattr(part, "state_dict") and hasattr(part, "load_state_dict")]
        self._begun = copy.deepcopy([part.state_dict() for part in self._parts])

    def keep(self, trainer: SupervisedTrainer, round_number: int, local: Weights) -> None:
        """Writes the trainer's state after a round, and the tensors that stay at the site, to one file, atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "optimizer": trainer.optimizer.state_dict(),
            "epoch": trainer.state.epoch,
            "iteration": trainer.state.iteration,
            "local": local,
            "parts": [part.state_dict() for part in self._parts],
        }
        temporary = self.folder / f".round_{round_number:05d}.{os.getpid()}"
        torch.save(state, temporary)
        os.replace(temporary, self.file(round_number))
        for old in self._rounds()[:-KEPT_STATES]:
            self.file(old).unlink(missing_ok=True)
        self._load(self._begun)

    def restore(self, trainer: SupervisedTrainer, round_number: int, device: torch.device) -> None:
        """Loads the state of the last round before this one; removes later states of an interrupted run."""
        for late in [kept for kept in self._rounds() if kept >= round_number]:
            self.file(late).unlink(missing_ok=True)
        kept = self._rounds()
        trainer.optimizer.state.clear()
        state: dict[str, Any] = {"epoch": 0, "iteration": 0, "parts": self._begun}
        if kept:
            state = _read(self.file(kept[-1]), device)
            for tensors in state["optimizer"]["state"].values():
                if "step" in tensors:  # torch would read a step on a GPU from there for every tensor in every step
                    tensors["step"] = tensors["step"].cpu()
            trainer.optimizer.load_state_dict(state["optimizer"])
        self._load(state["parts"])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["iteration"]

    @property
    def begun(self) -> bool:
        """Returns whether the site has completed a round."""
        return bool(self._rounds())

    def local(self) -> Weights:
        """Loads the tensors that stay at the site from the last round's file; there are none before round 1."""
        kept = self._rounds()
        local: Weights = _read(self.file(kept[-1]), torch.device("cpu"), mmap=True)["local"] if kept else {}
        return {name: value.clone() for name, value in local.items()}

    def _load(self, states: Iterable[Any]) -> None:
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(copy.deepcopy(state))

    def _rounds(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("round_")) for path in self.folder.glob("round_*.pt"))

    def file(self, round_number: int) -> Path:
        """Returns the path of the state of a round."""
        return self.folder / f"round_{round_number:05d}.pt"


def _read(file: Path, device: torch.device, mmap: bool = False) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True, mmap=mmap)
        return state
    except Exception as error:  # torch raises many types for damaged files
        raise ValueError(f"{file}: expected the site's state, found a damaged file: {error}") from error
