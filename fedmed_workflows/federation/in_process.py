"""The engine of one process: every site is an object, a round is a function call."""

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
    """Runs a federation's rounds with all sites in this process.

    Raises
    ------
    ValueError
        Bad input, named with its site and file, before any training.
    FederationError
        Too few sites contributed to a round.
    """
    engine, manifest, notes = opened(federation)
    rounds = Rounds(
        engine, folder, manifest, federation.aggregation, federation.rounds, federation.min_sites, federation.privacy
    )
    with RoundProgress(federation.rounds, len(engine.sites), folder.rounds_done) as shown:
        weights, history = rounds.run(shown)
    initial, final = engine.score(engine.initial_weights(), untrained=True), engine.score(weights)
    return Outcome(manifest, weights, history, engine.roles(), initial, final, engine.first_site(), notes)


def opened(federation: Federation) -> tuple[InProcessEngine, Manifest, list[str]]:
    """The engine with all sites built, what they exchange, and what the preparations have to say."""
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

    The sites share one frozen foundation; each has its own trained part, data, and state on disk.

    Parameters
    ----------
    make_site
        ``(name, folder, settings, held_out) -> SiteAlgo``.
    folders
        Path by name of the training sites.
    unseen
        ``(name, path)`` of the site that never trains, or None.
    observed
        Path by name of the sites that are judged like training sites, by their own splits, and do not train here.
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
        """Builds the unseen site, which may release features before the training sites are built."""
        if self._unseen is not None:
            self.unseen = self._built(*self._unseen, settings, True)
        return self.unseen

    def open_observed(self, settings: Mapping[str, Any]) -> None:
        """Builds the sites that are judged by their own splits and do not train."""
        for name, folder in self._observed.items():
            self.observed[name] = self._built(name, folder, settings, False)

    def open(self, settings: Mapping[str, Any]) -> Manifest:
        """Builds the training sites, checks that all exchange the same, and returns the manifest.

        Raises
        ------
        ValueError
            A site's images are refused, or its network differs from the others'; the message names the site.
        """
        for name, folder in self.folders.items():
            self.sites[name] = self._built(name, folder, settings, False)
        first = self.first_site()
        self._initial = first.initial_weights()
        manifest = first.manifest
        for name, site in self._all().items():
            manifest.check_same(site.manifest, f"site {name!r}")
        return manifest

    def initial_weights(self) -> Weights:
        """The exchanged tensors before round 1."""
        return self._initial

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> Mapping[str, torch.Tensor]:
        """The tensors: all sites are here."""
        return load_file(file) if isinstance(weights, FileWeights) else weights

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Refuses to go on where a site has lost the state of its last contribution.

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
        """One round: every training site's name with its update, or with the error that ended its round."""
        for name, site in self.sites.items():
            try:
                yield name, site.fit_round(weights, round_number)
            except Exception as error:  # a site's failure is the federation's to judge
                logger.warning("site %s, round %d: %s", name, round_number, error)
                yield name, error

    def validate(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, float]]:
        """Metrics of a round's aggregate on every site's validation images and on the unseen site."""
        return {
            name: site.evaluate(ExchangeObject(weights=dict(weights))).metrics for name, site in self._all().items()
        }

    def score(self, weights: Mapping[str, torch.Tensor], untrained: bool = False) -> dict[str, dict[str, Any]]:
        """Metrics of an aggregate with intervals on every site's test images and on the unseen site."""
        return {name: site.score(weights, untrained) for name, site in self._all().items()}

    def roles(self) -> list[dict[str, Any]]:
        """Every site's name, role and number of training samples."""
        return [
            {"name": name, "role": self._role(name), "samples": 0 if name in self.observed else site.samples}
            for name, site in self._all().items()
        ]

    def _role(self, name: str) -> str:
        return "training" if name in self.sites else "observed" if name in self.observed else "unseen"

    def first_site(self) -> SiteAlgo:
        """The training site whose name comes first."""
        return next(iter(self.sites.values()))

    def _built(self, name: str, folder: Path, settings: Mapping[str, Any], held_out: bool) -> SiteAlgo:
        site = self.make_site(name, folder, settings, held_out)
        try:
            site.initialize()
        except Exception as error:  # MONAI wraps what a component refuses in its own error
            raise ValueError(f"site {name!r}: {refusal(error)}") from error
        return site

    def _all(self) -> dict[str, SiteAlgo]:
        return {**self.sites, **self.observed, **({self.unseen.site: self.unseen} if self.unseen else {})}
