"""Runs the rounds of a federation, the same on every engine. To run 20 rounds on the sites in the folder ``data``:

    python -m monai.bundle run --config_file bundles/facmic_classification/configs/federated.json --dataset_dir data
        --rounds 20

A round sends the aggregate to the sites, aggregates their updates, validates the new aggregate and commits it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fedmed_workflows.aggregation import Aggregation, Before
from fedmed_workflows.errors import UpdateError, reported_error
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.privacy.accounting import accounted
from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate
from fedmed_workflows.exchange.weights import FileWeights, TensorSpecs, Update
from fedmed_workflows.federation.engine import Engine
from fedmed_workflows.federation.run_folder import RunFolder

logger = logging.getLogger(__name__)

Tensors = Mapping[str, torch.Tensor]

SiteEntries = dict[str, dict[str, Any]]
"""The entry of each site that answered in a round, by site name."""


class FederationError(RuntimeError):
    """Too few sites contributed to a round. The last good aggregate stays in the run folder."""


@dataclass(frozen=True)
class Rounds:
    """The rounds of one run. They start after the last complete round in the run folder.

    Attributes
    ----------
    engine
        The engine, which calls the sites.
    folder
        The run folder, which keeps an aggregate and the history after every round.
    manifest
        The tensors that an update must have.
    aggregation
        Computes the aggregate from the updates.
    rounds
        Number of the last round; 0 if no tensor is exchanged.
    min_sites
        Number of sites that must contribute to every round.
    privacy
        The noise that the sites add to their updates, needed for epsilon in the history; None for no noise.
    """

    engine: Engine
    folder: RunFolder
    manifest: Manifest
    aggregation: Aggregation
    rounds: int
    min_sites: int
    privacy: GaussianUpdate | None = None

    def run(
        self, show: Callable[[int, SiteEntries], None], publish: Callable[[dict[str, Any]], None] = lambda entry: None
    ) -> tuple[Tensors, list[dict[str, Any]]]:
        """Runs the remaining rounds; returns the last aggregate and the history.

        Parameters
        ----------
        show
            Called after every answer of a site, with the number of the round and the entries of the sites so far.
        publish
            Called with the history's entry of every committed round, starting with the rounds of earlier runs.

        Raises
        ------
        FederationError
            Too few sites contributed to a round.
        ValueError
            The aggregation needs more sites than a round may have, or its state is missing or damaged, or the number of
            rounds does not fit the network, see :func:`check_rounds`.
        """
        self.aggregation.check(self.min_sites)
        check_rounds(self.rounds, self.manifest)
        weights, history = self._resumed() or self._start()
        self.engine.check_states(history)
        for entry in history:
            publish(entry)
        for number in range(len(history), self.rounds + 1):
            weights, entry = self._round(weights, number, show)
            history.append(accounted(entry, history, self.privacy))
            self.folder.commit(history, self.manifest)
            publish(history[-1])
        return weights, history

    def _resumed(self) -> tuple[Tensors, list[dict[str, Any]]] | None:
        kept = self.folder.resume(self.manifest)
        if kept is None:
            return None
        weights, history = kept
        self._before(weights, history[-1]["round"])
        return self.engine.to_transport(weights, self.folder.file(history[-1]["round"])), history

    def _start(self) -> tuple[Tensors, list[dict[str, Any]]]:
        initial = self.engine.initial_weights()
        weights = self.engine.to_transport(initial, self.folder.keep(initial, 0))
        history: list[dict[str, Any]] = [{"round": 0, "validation": self.engine.validate(weights, 0)}]
        self.folder.commit(history, self.manifest)
        return weights, history

    @property
    def _state_specs(self) -> TensorSpecs:
        return self.aggregation.state_specs(self.manifest)

    def _before(self, weights: Tensors, number: int) -> Before:
        """Returns the tensors and the aggregation's state that the server has after a round."""
        return Before(weights, self.folder.state(number, self._state_specs), self.manifest.statistics)

    def _aggregated(self, updates: Mapping[str, Update], weights: Tensors, number: int) -> Tensors:
        """Aggregates the updates of a round, writes the aggregate to disk and returns it as the engine sends it."""
        aggregated = self.aggregation.aggregate(updates, self._before(weights, number - 1))
        file = self.folder.keep_aggregated(aggregated, self.manifest, self._state_specs, number)
        return self.engine.to_transport(FileWeights(file), file)

    def _round(
        self, weights: Tensors, number: int, show: Callable[[int, SiteEntries], None]
    ) -> tuple[Tensors, dict[str, Any]]:
        started = time.monotonic()
        updates: dict[str, Update] = {}
        sites: SiteEntries = {}
        for name, result in self.engine.train(weights, number):
            sites[name] = self._accept(name, result, updates)
            show(number, sites)
        self._check(number, sites, updates)
        weights, seconds = self._aggregated(updates, weights, number), time.monotonic() - started
        del updates
        entry = {"round": number, "seconds": seconds, "sites": dict(sorted(sites.items()))}
        return weights, {**entry, "validation": self.engine.validate(weights, number)}

    def _accept(self, name: str, result: Update | Exception, updates: dict[str, Update]) -> dict[str, Any]:
        """Adds the update of a site to `updates` if the update is valid; returns the round's entry of the site."""
        received = {"received_bytes": self.manifest.bytes}
        try:
            if isinstance(result, Exception):
                raise result
            _check_samples(name, result.samples)
            self.manifest.check(result.weights, f"site {name!r}: sent weights")
        except Exception as error:
            logger.warning("round without site %s: %s", name, error)
            return {**received, "error": reported_error(error)}
        updates[name] = result
        return {**received, "samples": result.samples, "sent_bytes": self.manifest.bytes, **result.metrics}

    def _check(self, number: int, sites: SiteEntries, updates: Mapping[str, Update]) -> None:
        if len(updates) < self.min_sites:
            failed = {name: entry["error"] for name, entry in sorted(sites.items()) if "error" in entry}
            raise FederationError(
                f"round {number}: {len(updates)} sites contributed, expected at least {self.min_sites}; "
                f"failed: {failed}; the aggregate of round {number - 1} stays in {self.folder.path / 'checkpoints'}"
            )


def check_rounds(rounds: int, manifest: Manifest) -> None:
    """Refuses a number of rounds that does not fit the manifest.

    A network of which no tensor is exchanged has 0 rounds; any other network has at least 1.

    Raises
    ------
    ValueError
        The message names the number of rounds that was found and the number that was expected.
    """
    if rounds and not manifest.tensors:
        raise ValueError(f"rounds: expected 0, found {rounds}: no tensor of this network is exchanged")
    if not rounds and manifest.tensors:
        exchanged = f"{len(manifest.tensors)} tensors of this network are exchanged"
        raise ValueError(f"rounds: expected a whole number of at least 1, found 0: {exchanged}")


def _check_samples(name: str, samples: Any) -> None:
    """Refuses an invalid number of samples, because this number is the weight of the site in the aggregate."""
    whole = isinstance(samples, int) and not isinstance(samples, bool)
    if not whole or not math.isfinite(samples) or samples <= 0:
        raise UpdateError(f"site {name!r}: claims {samples!r} samples, expected a positive whole number")
