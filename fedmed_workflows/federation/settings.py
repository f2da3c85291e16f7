"""The settings of a federation, checked before anything is read or written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fedmed_networks.settings import check_number
from fedmed_workflows.aggregation import Aggregation, FedAvg
from fedmed_workflows.exchange.privacy.accounting import check_accountant
from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate
from fedmed_workflows.exchange.weights import EXCHANGE_DTYPES, FULL
from fedmed_workflows.federation.bundle.config import TRAIN_CONFIG
from fedmed_workflows.federation.bundle.overlays import check_single_method
from fedmed_workflows.federation.bundle.settings.setting_values import RANGES
from fedmed_workflows.federation.bundle.trained_metadata import method_metadata
from fedmed_workflows.federation.engine import ENGINES
from fedmed_workflows.federation.preparation.target import Preparation
from fedmed_workflows.federation.run_folder import check_place
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.federation.training import FEDERATED, check_one_place
from fedmed_workflows.sites.federation_sites import FederationSites

if TYPE_CHECKING:
    from typing_extensions import Self

TRACKING = ("tensorboard", "mlflow")
"""The tools that can show the rounds of a run on NVFlare, in addition to the report."""


class FederationSettings:
    """Bundle, sites and settings of a federation. The settings do not change; :meth:`replaced` returns a copy.

    Parameters
    ----------
    bundle_root
        Folder of the bundle.
    sites
        The sites, for example :class:`fedmed_workflows.ClassificationSites`. If each site is the unseen site in turn,
        the federation has one run for each site, in a folder of the site's name.
    output_dir
        Folder of the run.
    rounds, local_epochs, seed
        Number of rounds, number of epochs of a site in each round, and the seed of all random numbers. `rounds` is 0
        only for a network of which no tensor is exchanged.
    settings
        Entries of the training configuration to replace at every site.
    engine
        The engine that runs the rounds: ``in_process``, or ``nvflare`` for NVFlare's simulator.
    aggregation
        Computes the aggregate from the sites' updates; None for :class:`fedmed_workflows.aggregation.FedAvg`.
    min_sites
        Number of sites that must contribute to every round; None for all.
    preparations
        Steps before round 1: ``(SiteAlgo of the unseen site or None, run folder) -> Preparation``.
    cache_dir
        Folder of the features of frozen encoders; None for ``features`` in the run folder.
    device
        Device of the sites.
    notes
        Remarks for the report; empty remarks are left out.
    train_config
        The training configuration and its overlays, as paths in the folder of the bundle or elsewhere.
    exchange_dtype
        Type in which real numbers are sent, one of :data:`fedmed_workflows.exchange.weights.EXCHANGE_DTYPES`.
    agreed
        Entries of the bundle's ``configs/federated.json`` that must be the same at all sites, by id. A job of NVFlare
        sends these entries to its sites. Plain values only.
    round_seconds
        Time after which a round of NVFlare continues without the sites that have not answered; None for no limit.
    privacy
        Makes the update of every site private before it leaves the site; None sends the update unchanged.
    track_with
        Tools that show the rounds on NVFlare's server, in addition to the report: some of :data:`TRACKING`.
    filters
        Privacy filters of NVFlare for every site's update, in order: ``{"path": class, "args": arguments}``. The
        engine ``in_process`` does not support filters.
    method
        Name of the method that an overlay of the bundle selects; None for the bundle's own method, which has the name
        of the bundle's folder.
    training
        ``federated``; ``alone``, which trains each site alone in its own run, or the name of the one site that trains
        alone; or ``pooled``, which trains at one place on the training images of all sites. All sites are evaluated in
        every case. `aggregation` and `min_sites` apply only to ``federated``.
    keep_network
        Whether the run leaves its whole network, ``model.pt``, and the trained bundle.
    method_metadata
        File with the name, task, description and references of the method that an overlay selects, in the bundle's
        folder or elsewhere.

    Raises
    ------
    ValueError
        A setting is out of range. This is checked before anything is read or written.
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
        method_metadata: str | None = None,
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
        self.training, self.keep_network, self.method_metadata = training, keep_network, method_metadata
        self._check()
        self._train_at_one_place()

    def replaced(self, **changes: Any) -> Self:
        """Returns a copy with other `sites`, another `output_dir` or another `training`.

        Raises
        ------
        ValueError
            The sites do not support this `training`.
        """
        changed = copy.copy(self)
        vars(changed).update(changes)
        changed._train_at_one_place()
        return changed

    @property
    def unseen_settings(self) -> dict[str, Any]:
        """Entries of the training configuration that differ at the unseen site, which aligns to no target."""
        return {"target": None} if "target" in self.settings else {}

    @property
    def metadata(self) -> dict[str, Any]:
        """The bundle's metadata, with the text of the method; empty where the bundle has none."""
        return method_metadata(self.bundle_root, self.method, self.method_metadata)

    def _check(self) -> None:
        for name in ("rounds", "local_epochs", "min_sites", "seed", "round_seconds"):
            check_number(name, getattr(self, name), **RANGES[name])
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

    def _train_at_one_place(self) -> None:
        """Sets the aggregation and `min_sites` of a training at one place, where only one site contributes."""
        if self.training != FEDERATED:
            check_one_place(self.training, self.sites, self.engine)
            self.aggregation, self.min_sites = FedAvg(), 1
