"""The comparison: a run of a federation for each method, seed and unseen site, and one page of all runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.comparison.compared_method import check_method, method_federation, method_parser
from fedmed_workflows.comparison.found_methods import expand_methods
from fedmed_workflows.comparison.peak_memory import PeakMemory
from fedmed_workflows.comparison.planned_runs import COST, PlannedRun, check_same_data, planned_runs
from fedmed_workflows.comparison.results.compared_run import ComparedRun
from fedmed_workflows.comparison.results.page import write_comparison
from fedmed_workflows.comparison.settings import check_entries, check_lists, check_methods
from fedmed_workflows.errors import refusal
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.run_folder import RunFolder
from fedmed_workflows.federation.training import FEDERATED
from fedmed_workflows.sites.federation_sites import ALL


class ComparisonError(RuntimeError):
    """A run of a comparison failed. The runs before it stay, and are not run again."""


class Comparison:
    """Runs methods with several seeds and unseen sites, and compares their results.

    Each run has a folder in `output_dir` and is resumed there after an interruption. A finished run is not run again:
    its numbers and its report stay, its network is removed. All runs share the features of frozen encoders.

    Parameters
    ----------
    bundle_root
        The bundle's folder.
    methods
        The configuration files of each method by its name, see
        :func:`fedmed_workflows.comparison.compared_method.method_parser`; a name with ``*`` is a pattern, see
        :func:`fedmed_workflows.comparison.found_methods.expand_methods`.
    output_dir
        Folder of the runs and of the page.
    dataset_dir, sites, unseen_site, rounds, device
        Entries of every configuration; None keeps the configuration's own. `unseen_site` may be a list of names.
    seeds
        Seeds of the runs.
    training
        Ways of training, of :data:`fedmed_workflows.comparison.settings.TRAININGS`.
    cache_dir
        Folder of the features of frozen encoders, for all runs; None for ``features`` in `output_dir`.
    reach
        A score; the page states the bytes that each method needs to reach it. None for the lowest of the methods' last
        scores.
    overlays
        Configuration files that all methods have in common, for example a recipe.
    overrides
        Further entries to replace, by id, in every configuration that has them.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    def __init__(
        self,
        bundle_root: str,
        methods: Mapping[str, Sequence[str]],
        output_dir: str,
        dataset_dir: str | None = None,
        sites: Sequence[str] | None = None,
        unseen_site: str | Sequence[str] | None = None,
        rounds: int | None = None,
        seeds: Sequence[int] = (0, 1, 2),
        training: Sequence[str] = (FEDERATED,),
        device: str | torch.device | None = None,
        cache_dir: str | None = None,
        reach: float | None = None,
        overlays: Sequence[str] = (),
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        check_methods(methods)
        check_entries(dataset_dir, reach, {} if overrides is None else overrides)
        self.bundle_root, self.output_dir, self.reach = bundle_root, Path(output_dir), reach
        listed_files = {name: [files] if isinstance(files, str) else files for name, files in methods.items()}
        self.methods = expand_methods(listed_files, bundle_root)
        self.seeds = list(seeds) if isinstance(seeds, Sequence) and not isinstance(seeds, str) else [seeds]
        self.trainings = [training] if isinstance(training, str) else list(training)
        listed = isinstance(unseen_site, Sequence) and not isinstance(unseen_site, str)
        names = None if unseen_site is None else [str(site) for site in (unseen_site if listed else [unseen_site])]
        self.unseen = None if names is None or ALL in names else names
        check_lists(self.seeds, self.trainings, self.unseen)
        self.overlays = [overlays] if isinstance(overlays, str) else list(overlays)
        self.overrides = dict(overrides or {})
        common = {
            "dataset_dir": dataset_dir, "sites": sites, "unseen_site": None if names is None else ALL, "rounds": rounds,
            "device": device, "cache_dir": cache_dir or str(self.output_dir / "features"),
        }  # fmt: skip
        self.entries = {name: value for name, value in common.items() if value is not None}

    def run(self) -> Path:
        """Runs all runs that are not finished and writes the page; returns the path of the page.

        Raises
        ------
        ValueError
            Before any training: a method's configuration is refused, the methods would run on different data, or a
            folder holds another run. The message names the method or the run.
        ComparisonError
            A run failed; the message names it. The runs before it stay.
        """
        planned = self.planned()
        identity = {"comparison": Path(self.bundle_root).resolve().name}
        with RunFolder(self.output_dir, identity), tqdm(planned, "comparison", unit="run") as shown:
            runs = [self._ran(run, shown) for run in shown]
            return write_comparison(runs, self.output_dir, self.reach)

    def planned(self) -> list[PlannedRun]:
        """Lists all runs after their checks, seed by seed: the runs of the first seed are a comparison by themselves.

        Raises
        ------
        ValueError
            As :meth:`run`.
        """
        parsers = {
            name: method_parser(name, files, self.overlays, self.bundle_root) for name, files in self.methods.items()
        }
        unused = [id_ for id_ in self.overrides if not any(id_ in parser for parser in parsers.values())]
        if unused:
            raise ValueError(f"overrides: no method's configuration has the entries {unused}")
        first = {name: self._federation(name, parser, self.seeds[0]) for name, parser in parsers.items()}
        check_same_data(first)
        for name, federation in first.items():
            check_method(name, federation)
        planned = [run for seed in self.seeds for name in parsers for run in self._planned(name, parsers[name], seed)]
        for run in planned:
            run.check()
        return planned

    def _planned(self, name: str, parser: ConfigParser, seed: int) -> Iterator[PlannedRun]:
        federation = self._federation(name, parser, seed)
        return planned_runs(name, federation, self.trainings, self.unseen, federation.output_dir)

    def _federation(self, name: str, parser: ConfigParser, seed: int) -> Federation:
        folder = {"seed": seed, "output_dir": str(self.output_dir / name / f"seed_{seed}")}
        overrides = {id_: value for id_, value in self.overrides.items() if id_ in parser}
        return method_federation(name, parser, {**self.entries, **overrides, **folder})

    def _ran(self, planned: PlannedRun, shown: Any) -> ComparedRun:
        """Runs a run if it is not finished, and reads its results."""
        shown.set_postfix_str(planned.name)
        if not planned.finished:
            memory = PeakMemory()
            try:
                with memory:
                    planned.federation.run()
            except Exception as error:  # any error needs the name of the run
                raise ComparisonError(f"run {planned.name}: {refusal(error)}; its folder: {planned.folder}") from error
            write_whole(planned.folder / COST, json.dumps(memory.figures, indent=2))
        _discard_networks(planned.folder)
        return planned.read(self.output_dir)


def _discard_networks(folder: Path) -> None:
    """Removes files that only an unfinished run needs: aggregates, states and networks of sites, released features."""
    patterns = ("checkpoints/*.safetensors", "sites/*/round_*.pt", "sites/*/model.pt")
    for file in [file for pattern in patterns for file in folder.glob(pattern)]:
        file.unlink()
    shutil.rmtree(folder / "released", ignore_errors=True)
