"""Runs a federation from the check of its settings to the report. To run it on the sites in the folder ``data``:

    python -m monai.bundle run --config_file bundles/facmic_classification/configs/federated.json --dataset_dir data
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from fedmed_workflows.federation.engine import ENGINES, Outcome, engines_that
from fedmed_workflows.federation.identity import run_identity
from fedmed_workflows.federation.preparation.target import Preparation
from fedmed_workflows.federation.result import write_result
from fedmed_workflows.federation.run_folder import RunFolder
from fedmed_workflows.federation.settings import FederationSettings
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.federation.training import ALONE
from fedmed_workflows.report.leave_one_out import write_leave_one_out


class Federation(FederationSettings):
    """Trains a bundle across sites, round by round, and writes a report.

    A committed round is never lost: a run that was killed and is started again with the same arguments continues after
    the last complete round and ends with the same bits. The parameters are those of
    :class:`fedmed_workflows.federation.settings.FederationSettings`.
    """

    def run(self) -> dict[str, Any]:
        """Runs the remaining rounds, writes the report and returns the content of the report.

        If each site is the unseen site in turn, or trains alone, the method returns one result for each site, by name.

        Raises
        ------
        ValueError
            The input is invalid, or the folder belongs to another run. The message names the site and the file. This
            is checked before any training.
        FederationError
            Too few sites contributed to a round.
        """
        if not self.sites.folders:
            raise ValueError("sites: found no training site, expected at least one besides the unseen one")
        engine = ENGINES[self.engine]
        found = f"found the engine {self.engine!r}, expected the engine"
        if self.track_with and not engine.tracks:
            raise ValueError(f"track_with {self.track_with}: {found} {engines_that('tracks')}")
        if self.filters is not None and not engine.filters:
            raise ValueError(f"filters: {found} {engines_that('filters')}")
        if self.training == ALONE:
            return each_site_alone(self)
        if self.sites.in_turn:
            return leave_one_site_out(self)
        return self.run_with(resolve_name(engine.function), self.engine)

    def run_with(self, engine: Callable[[Federation, RunFolder], Outcome], name: str) -> dict[str, Any]:
        """Runs the remaining rounds with the function of an engine; `name` is the engine's name in the report."""
        with RunFolder(self.output_dir, self.identity()) as folder:
            return write_result(self, engine(self, folder), name)

    def identity(self) -> dict[str, Any]:
        """Returns the identity of the run, by which its folder is resumed or refused."""
        return run_identity(self)

    def with_unseen(self, site: str) -> Federation:
        """Returns a copy of the federation with one of its sites as the unseen site, in a folder of the site's name."""
        return self.replaced(sites=self.sites.without(site), output_dir=self.output_dir / site)

    def site(self, name: str, folder: Path, settings: Mapping[str, Any], held_out: bool) -> SiteAlgo:
        """Returns a site that is not initialized yet; the site keeps its state in the run folder.

        Parameters
        ----------
        name, folder
            Name of the site, and the folder of its images.
        settings
            Entries of the training configuration to replace at this site.
        held_out
            Whether the site is the unseen site.
        """
        state_dir = self.output_dir / "sites" / name
        common = {**self.settings, "cache_dir": self.cache_dir, "device": self.device, "output_dir": str(state_dir)}
        own = {**settings, **self.sites.settings_of(name)}
        return SiteAlgo(
            self.bundle_root, name, str(folder), str(state_dir), self.seed, self.local_epochs,
            {**common, **own}, held_out, self.train_config, self.exchange_dtype, self.privacy,
            self.aggregation.local_normalization,
        )  # fmt: skip

    def prepare(self, unseen: SiteAlgo | None) -> Preparation:
        """Runs all preparations; returns their settings for the training sites and their notes together."""
        prepared = [step(unseen, self.output_dir) for step in self.preparations]
        settings = {name: value for step in prepared for name, value in step.settings.items()}
        return Preparation(settings, [note for step in prepared for note in step.notes])


def each_site_alone(federation: Federation) -> dict[str, Any]:
    """Trains each site alone, in a folder of the site's name; returns the results by site name.

    Raises
    ------
    ValueError, FederationError
        As :meth:`fedmed_workflows.Federation.run`, from the first run that fails. The earlier runs are kept.
    """
    with RunFolder(federation.output_dir, federation.identity()):
        places = {site: federation.output_dir / site for site in federation.sites.folders}
        return {site: federation.replaced(training=site, output_dir=place).run() for site, place in places.items()}


def leave_one_site_out(federation: Federation) -> dict[str, Any]:
    """Runs a federation once for each site as the unseen site; returns the results by the name of the unseen site.

    A site that trains alone is never the unseen site.

    Each run has its own folder, named after its unseen site. An interrupted run is resumed there. All runs share the
    features or slices that the sites keep on disk.

    Raises
    ------
    ValueError, FederationError
        As :meth:`fedmed_workflows.Federation.run`, from the first run that fails. The earlier runs are kept.
    """
    results = {}
    with RunFolder(federation.output_dir, federation.identity()):
        for site in (site for site in federation.sites.in_turn if site != federation.training):
            results[site] = federation.with_unseen(site).run()
        write_leave_one_out(results, federation.output_dir)
    return results
