"""The runs of a comparison before they start: their list, their folders and their checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.run_folder import check_folder
from fedmed_workflows.federation.training import ALONE
from fedmed_workflows.json_file import read_entries
from fedmed_workflows.sites.federation_sites import ALL

NUMBERS, PAGE, COST = "metrics.json", "report.html", "cost.json"
"""Files of a run: its numbers, its report (written last) and the costs that the comparison measured."""


@dataclass(frozen=True)
class PlannedRun:
    """A :class:`fedmed_workflows.comparison.results.compared_run.ComparedRun` before it has run."""

    arm: Arm
    seed: int
    unseen: str | None
    trained_at: str | None
    federation: Federation

    @property
    def name(self) -> str:
        """The run's name in messages."""
        at = f" at {self.trained_at!r}" if self.trained_at else ""
        unseen = f", unseen site {self.unseen!r}" if self.unseen else ""
        return f"{self.arm.name}{at}, seed {self.seed}{unseen}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.federation.output_dir

    @property
    def finished(self) -> bool:
        """Returns whether the run is finished: its report, the last file, exists."""
        return all((self.folder / name).is_file() for name in (NUMBERS, PAGE, "checkpoints/last.json"))

    def read(self, output_dir: Path) -> ComparedRun:
        """Reads the results of a finished run.

        Raises
        ------
        ValueError
            The file of numbers is damaged; the message names the file.
        """
        cost = self.folder / COST
        page = (self.folder / PAGE).relative_to(output_dir).as_posix()
        result, measured = _read(self.folder / NUMBERS), _read(cost) if cost.is_file() else {}
        return ComparedRun(self.arm, self.seed, self.unseen, self.trained_at, result, measured, page)

    def check(self) -> None:
        """Refuses a folder that holds a run of other settings or data.

        Raises
        ------
        ValueError
            The message names the run, the folder and what differs.
        """
        try:
            check_folder(self.folder, json.loads(json.dumps(self.federation.identity())))
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error


def planned_runs(
    method: str, federation: Federation, trainings: Sequence[str], unseen: Sequence[str] | None, folder: Path
) -> Iterator[PlannedRun]:
    """Yields the runs of a method with one seed.

    Parameters
    ----------
    method
        The method's name in the comparison.
    federation
        The federation of the method with the seed.
    trainings
        Ways of training: ``federated``, ``alone``, ``pooled``.
    unseen
        Names of the sites that are left out in turn; None for the sites of the federation's own setting.
    folder
        Folder of the method's runs with this seed. A run is in ``UNSEEN/federated``, ``UNSEEN/pooled`` or
        ``UNSEEN/alone/SITE``, without ``UNSEEN`` if there is no unseen site.

    Raises
    ------
    ValueError
        A name of `unseen` is no site of the federation.
    """
    for turn in _turns(method, federation, unseen):
        name = turn.sites.unseen[0] if turn.sites.unseen else None
        place = folder / name if name else folder
        for training in trainings:
            for site in turn.sites.folders if training == ALONE else [None]:
                run = turn.replaced(training=site or training, output_dir=place / training / (site or ""))
                yield PlannedRun(Arm(method, training), federation.seed, name, site, run)


def _turns(method: str, federation: Federation, unseen: Sequence[str] | None) -> list[Federation]:
    """Copies the federation for each of its unseen sites."""
    if not federation.sites.in_turn:
        return [federation]
    unknown = sorted(set(unseen or ()) - set(federation.sites.in_turn))
    if unknown:
        raise ValueError(f"method {method!r}: unseen_site {unknown}: expected some of {federation.sites.in_turn}")
    return [federation.with_unseen(site) for site in unseen or federation.sites.in_turn]


def check_same_data(federations: Mapping[str, Federation]) -> None:
    """Refuses methods with different images or classes.

    Raises
    ------
    ValueError
        Two methods differ; the message names both and the differing values.
    """
    first, described = "", dict[str, Any]()
    for name, federation in federations.items():
        sites = federation.sites
        found = {
            "sites": sorted(sites.paths), "unseen_site": ALL if sites.in_turn else sites.unseen and sites.unseen[0],
            "images": sites.digest, "class_names": list(sites.class_names), "key_metric": sites.key_metric,
            "shifts": sites.shifts,
        }  # fmt: skip
        if not described:
            first, described = name, found
        differing = {key: (found[key], described[key]) for key in found if found[key] != described[key]}
        if differing:
            listed = "; ".join(f"{key}: found {own!r} and {other!r}" for key, (own, other) in differing.items())
            raise ValueError(f"methods {name!r} and {first!r}: they would run on different data: {listed}")


def _read(file: Path) -> dict[str, Any]:
    return read_entries(file, "the numbers of a run")
