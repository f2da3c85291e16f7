"""A federation: its bundle, sites and settings, and the run of it from the first check to the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from fedmed_workflows.federation.engine import ENGINES, Outcome
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

    A round that was committed is never lost: killed at any moment and started again with the same arguments, the run
    goes on after the last whole round and ends with the same bits. Its parameters are those of
    :class:`fedmed_workflows.federation.settings.FederationSettings`.
    """

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
        engine = ENGINES[self.engine]
        if self.track_with and not engine.tracks:
            raise ValueError(f"track_with {self.track_with}: NVFlare's receivers do it, expected the engine 'nvflare'")
        if self.filters is not None and not engine.filters:
            raise ValueError(f"filters: they are NVFlare's, and engine is {self.engine!r}; expected engine 'nvflare'")
        if self.training == ALONE:
            return each_site_alone(self)
        if self.sites.in_turn:
            return leave_one_site_out(self)
        return self.run_with(resolve_name(engine.function), self.engine)

    def run_with(self, engine: Callable[[Federation, RunFolder], Outcome], name: str) -> dict[str, Any]:
        """Runs the rounds that are left with an engine's function, and its name for the report, as :meth:`run` does."""
        with RunFolder(self.output_dir, self.identity()) as folder:
            return write_result(self, engine(self, folder), name)

    def identity(self) -> dict[str, Any]:
        """What makes a run this run and no other."""
        return run_identity(self)

    def with_unseen(self, site: str) -> Federation:
        """The same federation with one of its sites as the unseen one, in a folder of the site's name."""
        return self.replaced(sites=self.sites.without(site), output_dir=self.output_dir / site)

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

    def prepare(self, unseen: SiteAlgo | None) -> Preparation:
        """Runs the preparations; the training sites' settings and the notes of all of them together."""
        prepared = [step(unseen, self.output_dir) for step in self.preparations]
        settings = {name: value for step in prepared for name, value in step.settings.items()}
        return Preparation(settings, [note for step in prepared for note in step.notes])


def each_site_alone(federation: Federation) -> dict[str, Any]:
    """Trains each site by itself, in a folder of its name; returns the results by this name.

    Raises
    ------
    ValueError, FederationError
        As :meth:`fedmed_workflows.Federation.run`, of the first run that fails; those before it stay.
    """
    with RunFolder(federation.output_dir, federation.identity()):
        places = {site: federation.output_dir / site for site in federation.sites.folders}
        return {site: federation.replaced(training=site, output_dir=place).run() for site, place in places.items()}


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
