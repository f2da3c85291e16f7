"""A site's own state between rounds, on its disk: its optimiser, what its handlers keep and what stays at the site."""

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
"""Rounds whose state stays on disk: the last one, and the one before it, from which a broken-off round starts again."""


class SiteState:
    """Optimiser state and progress of a site's trainer, kept after every round it completes, one file a round.

    Parameters
    ----------
    folder
        The site's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._parts: list[Any] = []
        self._begun: list[Any] = []

    def include(self, parts: Iterable[Any]) -> None:
        """Keeps the state of these too, apart from the network: the handlers and the loss that have one.

        Parameters
        ----------
        parts
            As they are before round 1. Those with ``state_dict()`` and ``load_state_dict()`` have a state: tensors,
            plain values, and dictionaries and lists of them. Between rounds they are as they were before round 1.
        """
        self._parts = [part for part in parts if hasattr(part, "state_dict") and hasattr(part, "load_state_dict")]
        self._begun = copy.deepcopy([part.state_dict() for part in self._parts])

    def keep(self, trainer: SupervisedTrainer, round_number: int, local: Weights) -> None:
        """Writes the trainer's state after a round, and the tensors that stay here; all of the file or nothing."""
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
        """Takes up the state of the last round before this one; what a broken-off run left of later rounds is void."""
        for late in [kept for kept in self._rounds() if kept >= round_number]:
            self.file(late).unlink(missing_ok=True)
        kept = self._rounds()
        trainer.optimizer.state.clear()
        state: dict[str, Any] = {"epoch": 0, "iteration": 0, "parts": self._begun}
        if kept:
            state = _read(self.file(kept[-1]), device)
            trainer.optimizer.load_state_dict(state["optimizer"])
        self._load(state["parts"])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["iteration"]

    @property
    def begun(self) -> bool:
        """Whether the site has completed a round."""
        return bool(self._rounds())

    def local(self) -> Weights:
        """The tensors that stay here, as the last round left them; none before the first."""
        kept = self._rounds()
        local: Weights = _read(self.file(kept[-1]), torch.device("cpu"), mmap=True)["local"] if kept else {}
        return {name: value.clone() for name, value in local.items()}

    def _load(self, states: Iterable[Any]) -> None:
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(copy.deepcopy(state))

    def _rounds(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("round_")) for path in self.folder.glob("round_*.pt"))

    def file(self, round_number: int) -> Path:
        """The file of a round's state."""
        return self.folder / f"round_{round_number:05d}.pt"


def _read(file: Path, device: torch.device, mmap: bool = False) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True, mmap=mmap)
        return state
    except Exception as error:  # torch has one of its own for every way a file can be damaged
        raise ValueError(f"{file}: expected the site's state, found a damaged file: {error}") from error
