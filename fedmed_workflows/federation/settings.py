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
from fedmed_workflows.federation.engine import ENGINES
from fedmed_workflows.federation.preparation.target import Preparation
from fedmed_workflows.federation.run_folder import check_place
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.federation.training import FEDERATED, check_one_place
from fedmed_workflows.sites.federation_sites import FederationSites

if TYPE_CHECKING:
    from typing_extensions import Self

TRACKING = ("tensorboard", "mlflow")
"""Where the rounds are shown on NVFlare, besides the report."""


class FederationSettings:
    """A federation's bundle, sites and settings. They do not change: :meth:`replaced` gives a copy.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    sites
        The sites, for example :class:`fedmed_workflows.ClassificationSites`; where each of them is the unseen
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
        Type in which real numbers are sent, one of :data:`fedmed_workflows.exchange.weights.EXCHANGE_DTYPES`.
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
        self._train_at_one_place()

    def replaced(self, **changes: Any) -> Self:
        """A copy with other `sites`, another `output_dir` or another `training`.

        Raises
        ------
        ValueError
            The training is none that these sites can have.
        """
        changed = copy.copy(self)
        vars(changed).update(changes)
        changed._train_at_one_place()
        return changed

    @property
    def unseen_settings(self) -> dict[str, Any]:
        """Entries of the training configuration that differ at the unseen site: it aligns to nobody."""
        return {"target": None} if "target" in self.settings else {}

    def _check(self) -> None:
        for name, least in (("rounds", 0), ("local_epochs", 1), ("min_sites", 1), ("seed", 0)):
            check_number(name, getattr(self, name), least=least, whole=True)
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
        check_number("round_seconds", self.round_seconds, above=0, optional=True)

    def _train_at_one_place(self) -> None:
        """At one place there is nothing to aggregate, and no site to wait for."""
        if self.training != FEDERATED:
            check_one_place(self.training, self.sites, self.engine, ENGINES[self.engine].in_one_process)
            self.aggregation, self.min_sites = FedAvg(), 1
