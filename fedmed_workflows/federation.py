"""A federation: its bundle, sites and settings, and the run of it from the first check to the report."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch

from fedmed_workflows.aggregation import Aggregation, FedAvg
from fedmed_workflows.engines.engine import Outcome
from fedmed_workflows.exchange import EXCHANGE_DTYPES, FULL
from fedmed_workflows.federation_sites import FederationSites
from fedmed_workflows.privacy_accounting import check_accountant
from fedmed_workflows.report.leave_one_out import write_leave_one_out
from fedmed_workflows.run_folder import RunFolder, check_place
from fedmed_workflows.run_identity import run_identity
from fedmed_workflows.run_result import write_result
from fedmed_workflows.site_algo import SiteAlgo
from fedmed_workflows.site_workflow import TRAIN_CONFIG
from fedmed_workflows.target_preparation import Preparation
from fedmed_workflows.train_overlays import check_single_method
from fedmed_workflows.training_sites import ALONE, FEDERATED, train_on
from fedmed_workflows.update_privacy import GaussianUpdate

ENGINES = {
    "in_process": "fedmed_workflows.engines.in_process:run_in_process",
    "nvflare": "fedmed_workflows.engines.nvflare_simulator:run_in_simulator",
}
"""What runs a federation's rounds, by the engine's name. Imported when it is chosen, with the packages it needs."""

TRACKING = ("tensorboard", "mlflow")
"""Where the rounds are shown on NVFlare, besides the report."""


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
        Rounds of aggregation, epochs of a site in each, and the seed of everything random. No rounds are for a network
        of which nothing travels, and for no other.
    settings
        Entries of the training configuration to replace at every site.
    engine
        How a site's round is called: ``in_process``, or ``nvflare`` for NVFlare's simulator.
    aggregation
        From the sites' updates to the aggregate; None for :class:`fedmed_workflows.aggregation.FedAvg`.
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
    agreed
        Entries of the bundle's ``configs/federated.json`` that all sites must have in common, by id: what a site
        of NVFlare gets of this configuration. Plain values only.
    round_seconds
        Time after which a round of NVFlare goes on without the sites that have not answered; None for no limit.
    privacy
        What makes every site's update private before it leaves the site; None sends it as it is.
    track_with
        Where NVFlare's server shows the rounds, besides the report: some of :data:`TRACKING`.
    filters
        Privacy filters of NVFlare on every site's update, in their order: ``{"path": class, "args": arguments}``; the
        engine ``in_process`` has none.
    method
        Name of the method that an overlay of the bundle selects; None for the bundle's own, named like its folder.
    training
        ``federated``; ``alone``, a run for each site by itself, or the name of one; or ``pooled``, at one place that
        has the training images of all. All sites are judged all the same; `aggregation` and `min_sites` do not apply.
    keep_network
        Whether the run leaves its whole network, ``model.pt``, and the trained bundle.

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
        aggregation: Aggregation | None = None,
        min_sites: int | None = None,
        preparations: Sequence[Callable[[SiteAlgo | None, Path], Preparation]] = (),
        cache_dir: str | None = None,
        device: str | torch.device = "cpu",
        notes: Sequence[str] = (),
        train_config: Sequence[str] = (TRAIN_CONFIG,),
        exchange_dtype: str = FULL,
        agreed: Mapping[str, Any] | None = None,
        round_seconds: float | None = None,
        privacy: GaussianUpdate | None = None,
        track_with: str | Sequence[str] | None = None,
        filters: Sequence[Mapping[str, Any]] | None = None,
        method: str | None = None,
        training: str = FEDERATED,
        keep_network: bool = True,
    ) -> None:
        self.bundle_root, self.sites, self.output_dir = bundle_root, sites, Path(output_dir)
        self.rounds, self.local_epochs, self.seed = rounds, local_epochs, seed
        self.settings = {**(settings or {}), **sites.settings}
        self.engine, self.aggregation, self.preparations = engine, aggregation or FedAvg(), list(preparations)
        self.train_config, self.exchange_dtype, self.privacy = list(train_config), exchange_dtype, privacy
        self.least = len(sites.folders) - bool(sites.in_turn)
        self.min_sites = max(self.least, 1) if min_sites is None else min_sites
        self.cache_dir = str(self.output_dir / "features") if cache_dir is None else cache_dir
        self.device, self.notes = torch.device(device), [note for note in notes if note]
        self.agreed, self.round_seconds = dict(agreed or {}), round_seconds
        self.track_with = [track_with] if isinstance(track_with, str) else list(track_with or ())
        self.filters = None if filters is None else [dict(entry) for entry in filters]
        self.method = Path(bundle_root).resolve().name if method is None else method
        self.training, self.keep_network = training, keep_network
        self._check()
        train_on(self, training)

    def run(self) -> dict[str, Any]:
        """Runs the rounds that are left and writes the report; returns what the report says.

        Where each site is the unseen one in turn, or trains alone: a result for each of them, by its name.

        Raises
        ------
        ValueError
            Bad input, named with its site and file, before any training; or a folder of another run.
        FederationError
            Too few sites contributed to a round.
        """
        if not self.sites.folders:
            raise ValueError("sites: found no training site, expected at least one besides the unseen one")
        if self.track_with and self.engine == "in_process":
            raise ValueError(f"track_with {self.track_with}: NVFlare's receivers do it, expected the engine 'nvflare'")
        if self.filters is not None and self.engine == "in_process":
            raise ValueError("filters: they are NVFlare's, and engine is 'in_process'; expected engine 'nvflare'")
        if self.training == ALONE:
            return each_site_alone(self)
        if self.sites.in_turn:
            return leave_one_site_out(self)
        return self.run_with(resolve_name(ENGINES[self.engine]), self.engine)

    def run_with(self, engine: Callable[[Federation, RunFolder], Outcome], name: str) -> dict[str, Any]:
        """Runs the rounds that are left with an engine's function, and its name for the report, as :meth:`run` does."""
        with RunFolder(self.output_dir, self.identity()) as folder:
            return write_result(self, engine(self, folder), name)

    def identity(self) -> dict[str, Any]:
        """What makes a run this run and no other."""
        return run_identity(self)

    def with_unseen(self, site: str) -> Federation:
        """The same federation with one of its sites as the unseen one, in a folder of the site's name."""
        run = copy.copy(self)
        run.sites, run.output_dir = self.sites.without(site), self.output_dir / site
        return run

    def site(self, name: str, folder: Path, settings: Mapping[str, Any], held_out: bool) -> SiteAlgo:
        """A site that is not initialized yet, with its state in the run's folder.

        Parameters
        ----------
        name, folder
            The site and its images.
        settings
            Entries of the training configuration to replace at this site.
        held_out
            An unseen site.
        """
        state_dir = self.output_dir / "sites" / name
        common = {**self.settings, "cache_dir": self.cache_dir, "device": self.device, "output_dir": str(state_dir)}
        own = {**settings, **self.sites.settings_of(name)}
        return SiteAlgo(
            self.bundle_root, name, str(folder), str(state_dir), self.seed, self.local_epochs,
            {**common, **own}, held_out, self.train_config, self.exchange_dtype, self.privacy,
            self.aggregation.local_normalization,
        )  # fmt: skip

    @property
    def unseen_settings(self) -> dict[str, Any]:
        """Entries of the training configuration that differ at the unseen site: it aligns to nobody."""
        return {"target": None} if "target" in self.settings else {}

    def prepare(self, unseen: SiteAlgo | None) -> Preparation:
        """Runs the preparations; the training sites' settings and the notes of all of them together."""
        prepared = [step(unseen, self.output_dir) for step in self.preparations]
        settings = {name: value for step in prepared for name, value in step.settings.items()}
        return Preparation(settings, [note for step in prepared for note in step.notes])

    def _check(self) -> None:
        for name, least in (("rounds", 0), ("local_epochs", 1), ("min_sites", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: expected a whole number of at least {least}, found {value!r}")
        if self.min_sites > max(self.least, 1):
            raise ValueError(f"min_sites: found {self.min_sites}, expected at most the {self.least} sites")
        if not isinstance(self.method, str) or self.method != Path(self.method).name or self.method in ("", ".."):
            raise ValueError(f"method: expected the name of a method, found {self.method!r}")
        check_single_method(self.bundle_root, self.train_config, self.method)
        for name, folder in (("output_dir", self.output_dir), ("cache_dir", Path(self.cache_dir))):
            check_place(name, folder)
        for name, known in (("engine", ENGINES), ("exchange_dtype", EXCHANGE_DTYPES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: found {getattr(self, name)!r}, expected one of {sorted(known)}")
        if not set(self.track_with) <= set(TRACKING):
            raise ValueError(f"track_with: found {self.track_with}, expected some of {list(TRACKING)}")
        if not isinstance(self.aggregation, Aggregation):
            known = "a class of fedmed_workflows.aggregation, by '_target_'"
            raise ValueError(f"aggregation: found {self.aggregation!r}, expected {known}")
        self.aggregation.check(self.min_sites)
        check_accountant(self.privacy)
        limit = self.round_seconds
        if limit is not None and not (isinstance(limit, (int, float)) and limit > 0):
            raise ValueError(f"round_seconds: expected a number above 0 or null, found {limit!r}")


def trained_on(federation: Federation, training: str, output_dir: Path) -> Federation:
    """The same federation with another place of training, in another folder.

    Raises
    ------
    ValueError
        As :func:`train_on`.
    """
    run = copy.copy(federation)
    run.output_dir = output_dir
    train_on(run, training)
    return run


def each_site_alone(federation: Federation) -> dict[str, Any]:
    """Trains each site by itself, in a folder of its name; returns the results by this name.

    Raises
    ------
    ValueError, FederationError
        As :meth:`fedmed_workflows.Federation.run`, of the first run that fails; those before it stay.
    """
    with RunFolder(federation.output_dir, federation.identity()):
        places = {site: federation.output_dir / site for site in federation.sites.folders}
        return {site: trained_on(federation, site, place).run() for site, place in places.items()}


def leave_one_site_out(federation: Federation) -> dict[str, Any]:
    """Runs a federation once for each of its sites as the unseen one; returns the results by this site's name.

    A site that trains alone is never the unseen one.

    Each run has a folder of its own, named after its unseen site, and is taken up there if it was interrupted. The
    features or slices that sites keep on disk serve all runs.

    Raises
    ------
    ValueError, FederationError
        As :meth:`fedmed_workflows.Federation.run`, of the first run that fails; those before it stay.
    """
    results = {}
    with RunFolder(federation.output_dir, federation.identity()):
        for site in (site for site in federation.sites.in_turn if site != federation.training):
            results[site] = federation.with_unseen(site).run()
        write_leave_one_out(results, federation.output_dir)
    return results
