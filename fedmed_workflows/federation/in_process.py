"""The engine that runs all sites in one process: each site is an object, and a round is a function call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from monai.fl.utils.exchange_object import ExchangeObject
from safetensors.torch import load_file

from fedmed_workflows.errors import refusal
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import FileWeights, Update, Weights
from fedmed_workflows.federation.engine import Outcome
from fedmed_workflows.federation.progress import RoundProgress
from fedmed_workflows.federation.rounds import Rounds
from fedmed_workflows.federation.run_folder import RunFolder
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.federation.training import POOLED, training_folders, training_notes, write_pooled

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation

logger = logging.getLogger(__name__)


def run_in_process(federation: Federation, folder: RunFolder) -> Outcome:
    """Runs the rounds of a federation with all sites in this process.

    Raises
    ------
    ValueError
        The input is invalid. The message names the site and the file. This is checked before any training.
    FederationError
        Too few sites contributed to a round.
    """
    engine, manifest, notes = build_engine(federation)
    rounds = Rounds(
        engine, folder, manifest, federation.aggregation, federation.rounds, federation.min_sites, federation.privacy
    )
    with RoundProgress(federation.rounds, len(engine.sites), folder.rounds_done) as progress:
        weights, history = rounds.run(progress)
    initial, final = engine.score(engine.initial_weights(), untrained=True), engine.score(weights)
    return Outcome(manifest, weights, history, engine.roles(), initial, final, engine.first_site(), notes)


def build_engine(federation: Federation) -> tuple[InProcessEngine, Manifest, list[str]]:
    """Builds the engine with all sites; returns the engine, the manifest of the exchanged tensors, and the notes."""
    folders, observed = training_folders(federation.training, federation.sites.folders, federation.output_dir)
    engine = InProcessEngine(federation.site, folders, federation.sites.unseen, observed)
    unseen = engine.open_unseen(federation.unseen_settings)
    prepared = federation.prepare(unseen)
    engine.open_observed(prepared.settings)
    if federation.training == POOLED:
        write_pooled(engine.observed, folders[POOLED])
    notes = training_notes(federation.training, federation.sites.folders)
    return engine, engine.open(prepared.settings), [*notes, *prepared.notes]


class InProcessEngine:
    """Runs all sites of a federation in this process, one after the other, in the order of their names.

    The sites share one frozen foundation. Each site has its own trained part, data, and state on disk.

    Parameters
    ----------
    make_site
        ``(name, folder, settings, held_out) -> SiteAlgo``.
    folders
        Paths of the training sites, by name.
    unseen
        ``(name, path)`` of the unseen site, which never trains, or None.
    observed
        Paths, by name, of the sites that are evaluated on their own splits like training sites, and do not train here.
    """

    def __init__(
        self,
        make_site: Callable[[str, Path, Mapping[str, Any], bool], SiteAlgo],
        folders: Mapping[str, Path],
        unseen: tuple[str, Path] | None,
        observed: Mapping[str, Path] | None = None,
    ) -> None:
        self.make_site = make_site
        self.folders = dict(sorted(folders.items()))
        self.sites: dict[str, SiteAlgo] = {}
        self.observed: dict[str, SiteAlgo] = {}
        self._observed = dict(sorted((observed or {}).items()))
        self.unseen: SiteAlgo | None = None
        self._unseen = unseen
        self._initial: Weights = {}

    def open_unseen(self, settings: Mapping[str, Any]) -> SiteAlgo | None:
        """Builds the unseen site. It comes first because the training sites may need features that it releases."""
        if self._unseen is not None:
            self.unseen = self._build(*self._unseen, settings, True)
        return self.unseen

    def open_observed(self, settings: Mapping[str, Any]) -> None:
        """Builds the sites that are evaluated on their own splits and do not train."""
        for name, folder in self._observed.items():
            self.observed[name] = self._build(name, folder, settings, False)

    def open(self, settings: Mapping[str, Any]) -> Manifest:
        """Builds the training sites, checks that all sites exchange the same tensors, and returns the manifest.

        Raises
        ------
        ValueError
            The images of a site are refused, or its network differs from those of the other sites. The message names
            the site.
        """
        for name, folder in self.folders.items():
            self.sites[name] = self._build(name, folder, settings, False)
        first = self.first_site()
        self._initial = first.initial_weights()
        manifest = first.manifest
        for name, site in self._all().items():
            manifest.check_same(site.manifest, f"site {name!r}")
        return manifest

    def initial_weights(self) -> Weights:
        """Returns the exchanged tensors before round 1."""
        return self._initial

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> Mapping[str, torch.Tensor]:
        """Returns the tensors, loaded from their file if they are in a file."""
        return load_file(file) if isinstance(weights, FileWeights) else weights

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Refuses to continue if a site has lost the state of its last contribution.

        Raises
        ------
        ValueError
            The message names the site and the file.
        """
        for name, site in self.sites.items():
            rounds = [entry["round"] for entry in history[1:] if "error" not in entry["sites"].get(name, {"error": ""})]
            if rounds and not site.state.file(rounds[-1]).is_file():
                raise ValueError(
                    f"site {name!r}: {site.state.file(rounds[-1])} is missing, expected the site's state "
                    f"after round {rounds[-1]}; without it the run would not end with the same weights"
                )

    def train(self, weights: Mapping[str, torch.Tensor], round_number: int) -> Iterator[tuple[str, Update | Exception]]:
        """Runs one round; yields each training site's name with its update, or with the error that ended its round."""
        for name, site in self.sites.items():
            try:
                yield name, site.fit_round(weights, round_number)
            except Exception as error:  # the rounds decide whether enough sites contributed
                logger.warning("site %s, round %d: %s", name, round_number, error)
                yield name, error

    def validate(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, float]]:
        """Returns the metrics of an aggregate on every site's validation images and on the unseen site."""
        return {
            name: site.evaluate(ExchangeObject(weights=dict(weights))).metrics for name, site in self._all().items()
        }

    def score(self, weights: Mapping[str, torch.Tensor], untrained: bool = False) -> dict[str, dict[str, Any]]:
        """Returns the metrics of an aggregate, with intervals, on every site's test images and on the unseen site."""
        return {name: site.score(weights, untrained) for name, site in self._all().items()}

    def roles(self) -> list[dict[str, Any]]:
        """Returns name, role and number of training samples of every site."""
        return [
            {"name": name, "role": self._role(name), "samples": 0 if name in self.observed else site.samples}
            for name, site in self._all().items()
        ]

    def _role(self, name: str) -> str:
        return "training" if name in self.sites else "observed" if name in self.observed else "unseen"

    def first_site(self) -> SiteAlgo:
        """Returns the training site with the first name in alphabetical order."""
        return next(iter(self.sites.values()))

    def _build(self, name: str, folder: Path, settings: Mapping[str, Any], held_out: bool) -> SiteAlgo:
        site = self.make_site(name, folder, settings, held_out)
        try:
            site.initialize()
        except Exception as error:  # MONAI wraps what a component refuses in its own error
            raise ValueError(f"site {name!r}: {refusal(error)}") from error
        return site

    def _all(self) -> dict[str, SiteAlgo]:
        return {**self.sites, **self.observed, **({self.unseen.site: self.unseen} if self.unseen else {})}
