"""What a comparison takes: each of its entries is checked before a configuration is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_networks.settings import check_number
from fedmed_workflows.federation.training import ALONE, FEDERATED, POOLED
from fedmed_workflows.sites.class_folders import check_name

TRAININGS = (FEDERATED, ALONE, POOLED)
"""Across the sites; at each of them by itself; at one place that has the training images of all of them."""

TAKEN = ("", "..", "features", "figures")
"""Names of no method: the comparison's own folders."""

TAKEN_SUFFIXES = (".csv", ".html", ".json", ".tex")
"""Of the comparison's own files."""

DECIDED = ("bundle_root", "output_dir", "seed", "training", "unseen_site")
"""Entries of a federation that the comparison's own entries decide, so that `overrides` can't."""


def check_methods(methods: Any) -> None:
    """Refuses methods that are no configuration files by name, and names that can't be a folder's and a table's.

    Raises
    ------
    ValueError
        The message says what was found.
    """
    listed = isinstance(methods, Mapping) and methods
    if not listed or not all(isinstance(name, str) and _names(files) for name, files in methods.items()):
        raise ValueError(f"methods: expected a list of configuration files for each, found {methods}")
    for name in methods:
        check_name(name, "methods: method")
        if name != Path(name).name or name in TAKEN or Path(name).suffix in TAKEN_SUFFIXES or "," in name:
            raise ValueError(f"methods: found the name {name!r}, expected one that a folder can have, without a comma")


def check_lists(seeds: Any, training: Any, unseen: Sequence[str] | None) -> None:
    """Refuses seeds, ways of training and unseen sites that are none, or that come twice.

    Raises
    ------
    ValueError
        The message names the entry and what was found.
    """
    if not _different(seeds) or not all(type(seed) is int for seed in seeds):
        raise ValueError(f"seeds: expected different whole numbers, found {seeds}")
    if not _different(training) or not set(training) <= set(TRAININGS):
        raise ValueError(f"training: expected some of {list(TRAININGS)}, each once, found {training}")
    if unseen is not None and not _different(unseen):
        raise ValueError(f"unseen_site: expected different names of sites, found {unseen}")


def check_entries(dataset_dir: Any, reach: Any, overrides: Any) -> None:
    """Refuses a folder that is no path, a score that no run can have, and overrides of what the comparison decides.

    Raises
    ------
    ValueError
        The message names the entry and what was found.
    """
    if dataset_dir is not None and not isinstance(dataset_dir, (str, Path)):
        raise ValueError(f"dataset_dir: expected a folder, found {dataset_dir!r}")
    check_number("reach", reach, least=0, most=1, optional=True)
    if not isinstance(overrides, Mapping):
        raise ValueError(f"overrides: expected values by id, found {overrides!r}")
    decided = sorted({*overrides} & {*DECIDED})
    if decided:
        raise ValueError(f"overrides: found {decided}, which entries of the comparison decide: see docs/compare.md")


def _names(files: Any) -> bool:
    listed = isinstance(files, Sequence) and not isinstance(files, str)
    return isinstance(files, str) or (listed and len(files) > 0 and all(isinstance(file, str) for file in files))


def _different(values: Any) -> bool:
    """Whether it is a list of at least one value that has none of them twice."""
    if not isinstance(values, Sequence) or not values:
        return False
    return all(value not in values[:place] for place, value in enumerate(values))
