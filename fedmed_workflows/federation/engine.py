"""The engines of a federation: the protocol that an engine follows, the kinds of engines by name, and their outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import Update


class Engine(Protocol):
    """Calls the sites, by function calls in one process or by messages over a network."""

    def initial_weights(self) -> Mapping[str, torch.Tensor]:
        """Returns the exchanged tensors before round 1."""

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> Mapping[str, torch.Tensor]:
        """Returns an aggregate as the engine sends it to the sites: the tensors, or the file that holds the tensors."""

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Refuses to continue if a site has lost the state of its last contribution."""

    def train(self, weights: Mapping[str, torch.Tensor], round_number: int) -> Iterator[tuple[str, Update | Exception]]:
        """Runs one round; yields each training site's name with its update, or with the error that ended its round."""

    def validate(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, float]]:
        """Returns the metrics of an aggregate on every site's validation images and on the unseen site."""


class Trained(Protocol):
    """The network of a run, with the methods that the writer of the results calls."""

    def save_model(self, weights: Mapping[str, Any], path: Path) -> Path:
        """Writes the state of the whole network with the given weights."""

    def has_setting(self, name: str) -> bool:
        """Returns whether the training configuration has an entry of this name."""

    def setting(self, name: str) -> Any:
        """Returns the value of an entry of the training configuration."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: the trained network and all numbers that the report needs.

    Attributes
    ----------
    manifest
        The exchanged tensors: names, shapes and types.
    weights
        The last aggregate.
    history
        One entry for each round, starting with round 0.
    sites
        Name, role and number of training samples of every site.
    initial, final
        Scores of the untrained and of the trained network, by site.
    trained
        The network.
    notes
        Remarks for the reader of the report.
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
    """A kind of engine: the function that runs the rounds of a federation, and the settings that the engine supports.

    Attributes
    ----------
    function
        ``module:function``. The module is imported when the engine is selected, with the packages that it needs.
    tracks
        Whether the engine supports ``track_with``, which shows the rounds outside the report.
    filters
        Whether the engine supports ``filters`` on the updates.
    in_one_process
        Whether the images of all sites are in one process, so that the engine can train at one place.
    """

    function: str
    tracks: bool = False
    filters: bool = False
    in_one_process: bool = False


ENGINES = {
    "in_process": EngineKind("fedmed_workflows.federation.in_process:run_in_process", in_one_process=True),
    "nvflare": EngineKind("fedmed_workflows.nvflare.run.simulator:run_in_simulator", tracks=True, filters=True),
}
"""The kinds of engines, by the name that the setting ``engine`` selects."""


def engines_that(ability: str) -> str:
    """Names the engines that have an ability, an attribute of :class:`EngineKind`, for an error message."""
    return " or ".join(repr(name) for name, kind in ENGINES.items() if getattr(kind, ability))
