"""The rounds of a federation: who takes part, what is kept, how it goes on after an interruption, when it ends."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fedmed_workflows.aggregation import FedAvg, Update
from fedmed_workflows.engines import InProcessEngine
from fedmed_workflows.exchange import EXCHANGE_DTYPES, FULL, Manifest, Weights
from fedmed_workflows.federation_sites import FederationSites
from fedmed_workflows.leave_one_out import leave_one_site_out
from fedmed_workflows.preparation import Preparation
from fedmed_workflows.privacy_accounting import accounted, check_accountant, privacy_notes
from fedmed_workflows.report import write_report
from fedmed_workflows.run_folder import RunFolder, write_whole
from fedmed_workflows.run_identity import run_identity
from fedmed_workflows.run_record import inference_overlay, reported_error, versions
from fedmed_workflows.site_algo import SiteAlgo
from fedmed_workflows.site_workflow import TRAIN_CONFIG
from fedmed_workflows.update_privacy import GaussianUpdate

logger = logging.getLogger(__name__)

ENGINES = {"in_process": InProcessEngine}


class FederationError(RuntimeError):
    """Too few sites contributed to a round. The last good aggregate stays in the run's folder."""


class Federation:
    """Trains a bundle across sites, round by round, and writes a report.

    A round that was committed is never lost: killed at any moment and started again with the same arguments, the run
    goes on after the last whole round and ends with the same bits.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    sites
        The sites, for example :class:`fedmed_workflows.sites.ClassificationSites`; where each of them is the unseen
        one in turn, a run for each of them, in a folder of its name.
    output_dir
        The run's folder.
    rounds, local_epochs, seed
        Rounds of aggregation, epochs of a site in each, and the seed of everything random.
    settings
        Entries of the training configuration to replace at every site.
    engine
        How a site's round is called: ``in_process``.
    aggregation
        From ``{site: Update}`` to the aggregate.
    min_sites
        Sites that must contribute to every round; None for all.
    preparations
        Steps before round 1: ``(the unseen site's SiteAlgo or None, the run's folder) -> Preparation``.
    cache_dir
        Folder of the features of frozen encoders; None for ``features`` in the run's folder.
    device
        Device of the sites.
    notes
        Remarks for the report; empty ones are left out.
    train_config
        The training configuration and its overlays, in the bundle's folder or elsewhere.
    exchange_dtype
        Type in which real numbers are sent, one of :data:`fedmed_workflows.exchange.EXCHANGE_DTYPES`.
    privacy
        What makes every site's update private before it leaves the site; None sends it as it is.

    Raises
    ------
    ValueError
        A setting is out of range, before anything is read or written.
    """

    def __init__(
        self,
        bundle_root: str,
        sites: FederationSites,
        output_dir: str,
        rounds: int,
        local_epochs: int = 1,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        engine: str = "in_process",
        aggregation: Callable[[Mapping[str, Update]], Weights] | None = None,
        min_sites: int | None = None,
        preparations: Sequence[Callable[[SiteAlgo | None, Path], Preparation]] = (),
        cache_dir: str | None = None,
        device: str | torch.device = "cpu",
        notes: Sequence[str] = (),
        train_config: Sequence[str] = (TRAIN_CONFIG,),
        exchange_dtype: str = FULL,
        privacy: GaussianUpdate | None = None,
    ) -> None:
        self.bundle_root, self.sites, self.output_dir = bundle_root, sites, Path(output_dir)
        self.rounds, self.local_epochs, self.seed = rounds, local_epochs, seed
        self.settings = {**(settings or {}), **sites.settings}
        self.engine, self.aggregation, self.preparations = engine, aggregation or FedAvg(), list(preparations)
        self.train_config, self.exchange_dtype, self.privacy = list(train_config), exchange_dtype, privacy
        self.least = len(sites.folders) - bool(sites.in_turn)
        self.min_sites = self.least if min_sites is None else min_sites
        self.cache_dir = str(self.output_dir / "features") if cache_dir is None else cache_dir
        self.device, self.notes = torch.device(device), [note for note in notes if note]
        self._check()

    def run(self) -> dict[str, Any]:
        """Runs the rounds that are left and writes the report; returns what the report says.

        Where each site is the unseen one in turn: a result for each of them, by its name.

        Raises
        ------
        ValueError
            Bad input, named with its site and file, before any training; or a folder of another run.
        FederationError
            Too few sites contributed to a round.
        """
        if self.sites.in_turn:
            return leave_one_site_out(self)
        with RunFolder(self.output_dir, self.identity()) as folder:
            engine, manifest = self._open()
            weights, history = folder.resume(manifest) or self._start(folder, engine, manifest)
            engine.check_states(history)
            done = (len(history) - 1) * self.least
            with tqdm(total=self.rounds * self.least, initial=done, desc="federation", unit="site") as bar:
                for number in range(len(history), self.rounds + 1):
                    weights, entry = self._round(engine, manifest, weights, number, bar)
                    history.append(accounted(entry, history, self.privacy))
                    folder.commit(weights, history, manifest)
            return self._finish(engine, manifest, weights, history)

    def identity(self) -> dict[str, Any]:
        """What makes a run this run and no other."""
        return run_identity(self)

    def with_unseen(self, site: str) -> Federation:
        """The same federation with one of its sites as the unseen one, in a folder of the site's name."""
        run = copy.copy(self)
        run.sites, run.output_dir, run.notes = self.sites.without(site), self.output_dir / site, list(self.notes)
        return run

    def _check(self) -> None:
        for name, least in (("rounds", 1), ("local_epochs", 1), ("min_sites", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: expected a whole number of at least {least}, found {value!r}")
        if self.min_sites > self.least:
            raise ValueError(f"min_sites: found {self.min_sites}, expected at most the {self.least} sites")
        for name, known in (("engine", ENGINES), ("exchange_dtype", EXCHANGE_DTYPES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: found {getattr(self, name)!r}, expected one of {sorted(known)}")
        check_accountant(self.privacy)

    def _make_site(self, name: str, folder: Path, settings: Mapping[str, Any], held_out: bool) -> SiteAlgo:
        state_dir = self.output_dir / "sites" / name
        common = {**self.settings, "cache_dir": self.cache_dir, "device": self.device, "output_dir": str(state_dir)}
        return SiteAlgo(
            self.bundle_root, name, str(folder), str(state_dir), self.seed, self.local_epochs,
            {**common, **settings}, held_out, self.train_config, self.exchange_dtype, self.privacy,
        )  # fmt: skip

    def _open(self) -> tuple[InProcessEngine, Manifest]:
        engine = ENGINES[self.engine](self._make_site, self.sites.folders, self.sites.unseen)
        unseen = engine.open_unseen({"target": None} if "target" in self.settings else {})
        prepared = [step(unseen, self.output_dir) for step in self.preparations]
        self.notes += [note for step in prepared for note in step.notes]
        return engine, engine.open({name: value for step in prepared for name, value in step.settings.items()})

    def _start(
        self, folder: RunFolder, engine: InProcessEngine, manifest: Manifest
    ) -> tuple[Weights, list[dict[str, Any]]]:
        weights = engine.initial_weights()
        history: list[dict[str, Any]] = [{"round": 0, "validation": engine.validate(weights)}]
        folder.commit(weights, history, manifest)
        return weights, history

    def _round(
        self, engine: InProcessEngine, manifest: Manifest, weights: Weights, number: int, bar: Any
    ) -> tuple[Weights, dict[str, Any]]:
        started = time.monotonic()
        updates: dict[str, Update] = {}
        sites: dict[str, dict[str, Any]] = {}
        for name, result in engine.train(weights, number):
            sites[name] = self._accept(name, result, manifest, updates)
            loss = sites[name].get("loss", "failed" if "error" in sites[name] else "kept at the site")
            megabytes = sum(part["received_bytes"] + part.get("sent_bytes", 0) for part in sites.values()) / 1e6
            bar.set_description(f"round {number}/{self.rounds} {name}")
            bar.set_postfix({"loss": loss, "MB this round": f"{megabytes:.1f}"})
            bar.update()
        if len(updates) < self.min_sites:
            failed = {name: entry["error"] for name, entry in sites.items() if "error" in entry}
            raise FederationError(
                f"round {number}: {len(updates)} sites contributed, expected at least {self.min_sites}; "
                f"failed: {failed}; the aggregate of round {number - 1} stays in {self.output_dir / 'checkpoints'}"
            )
        weights, seconds = self.aggregation(updates), time.monotonic() - started
        return weights, {"round": number, "seconds": seconds, "sites": sites, "validation": engine.validate(weights)}

    def _accept(
        self, name: str, result: Update | Exception, manifest: Manifest, updates: dict[str, Update]
    ) -> dict[str, Any]:
        """Takes up a site's update if it is sound; the round's entry of the site."""
        received = {"received_bytes": manifest.bytes}
        try:
            if isinstance(result, Exception):
                raise result
            manifest.check(result.weights, f"site {name!r}: sent weights")
        except Exception as error:
            logger.warning("round without site %s: %s", name, error)
            return {**received, "error": reported_error(error)}
        updates[name] = result
        sent = sum(value.numel() * value.element_size() for value in result.weights.values())
        return {**received, "samples": result.samples, "sent_bytes": sent, **result.metrics}

    def _finish(
        self, engine: InProcessEngine, manifest: Manifest, weights: Weights, history: list[dict[str, Any]]
    ) -> dict[str, Any]:
        model = engine.save_model(weights, self.output_dir / "model.pt")
        overlay = inference_overlay(self.bundle_root, self.settings, engine.first_site(), model)
        write_whole(self.output_dir / "model.json", json.dumps(overlay, indent=2))
        result = {
            "method": Path(self.bundle_root).resolve().name,
            "settings": {**self.identity(), "min_sites": self.min_sites, "engine": self.engine},
            "versions": versions(),
            "seed": self.seed,
            "manifest": manifest.to_json(),
            "notes": [*self.notes, *privacy_notes(self.privacy, history)],
            "class_names": list(self.sites.class_names),
            "key_metric": self.sites.key_metric,
            "chance": self.sites.chance,
            "sites": engine.roles(),
            "history": history,
            "initial": engine.score(engine.initial_weights()),
            "final": engine.score(weights),
        }
        run = {key: result[key] for key in ("method", "settings", "versions", "seed", "manifest", "notes")}
        write_whole(self.output_dir / "run.json", json.dumps({"identity": self.identity(), **run}, indent=2))
        write_report(result, self.output_dir)
        return result
