"""What the rounds of a federation ask of an engine, whatever lies between them and the sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import Update


class Engine(Protocol):
    """Calls the sites: a function call in one process, a message on a wire."""

    def initial_weights(self) -> Mapping[str, torch.Tensor]:
        """The exchanged tensors before round 1."""

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> Mapping[str, torch.Tensor]:
        """An aggregate as the engine passes it on: the tensors, or the file that holds them too."""

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Refuses to go on where a site has lost the state of its last contribution."""

    def train(self, weights: Mapping[str, torch.Tensor], round_number: int) -> Iterator[tuple[str, Update | Exception]]:
        """One round: every training site's name with its update, or with the error that ended its round."""

    def validate(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, float]]:
        """Metrics of a round's aggregate on every site's validation images and on the unseen site."""


@dataclass(frozen=True)
class Outcome:
    """What an engine made of a run.

    Attributes
    ----------
    manifest
        What was exchanged.
    weights
        The last aggregate.
    history
        An entry a round, of round 0 first.
    sites
        Every site's name, role and number of training samples.
    initial, final
        Scores of the untrained and the trained network by site.
    trained
        The network.
    notes
        Remarks for the report's reader.
    """

    manifest: Manifest
    weights: Mapping[str, torch.Tensor]
    history: list[dict[str, Any]]
    sites: list[dict[str, Any]]
    initial: dict[str, Any]
    final: dict[str, Any]
    trained: Trained
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EngineKind:
    """A kind of engine: the function that runs a federation's rounds, and the settings that it can follow.

    Attributes
    ----------
    function
        ``module:function``, imported when the engine is chosen, with the packages it needs.
    tracks
        Whether it shows the rounds outside the report (``track_with``).
    filters
        Whether it filters updates (``filters``).
    in_one_process
        Whether it has all sites' images in its process, so that it can train at one place.
    """

    function: str
    tracks: bool = False
    filters: bool = False
    in_one_process: bool = False


ENGINES = {
    "in_process": EngineKind("fedmed_workflows.federation.in_process:run_in_process", in_one_process=True),
    "nvflare": EngineKind("fedmed_workflows.nvflare.run.simulator:run_in_simulator", tracks=True, filters=True),
}
"""The kinds of engines by the name that ``engine`` selects."""


class Trained(Protocol):
    """The network of a run, as the one who writes its results needs it."""

    def save_model(self, weights: Mapping[str, Any], path: Path) -> Path:
        """Writes the whole network with the given weights, as ``{"model": state}``."""

    def has_setting(self, name: str) -> bool:
        """Whether the training configuration has an entry of this name."""

    def setting(self, name: str) -> Any:
        """The value of an entry of the training configuration."""
