"""Checks of a comparison's entries, before any configuration is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_networks.settings import check_number
from fedmed_workflows.federation.training import ALONE, FEDERATED, POOLED
from fedmed_workflows.sites.class_folders import check_name

TRAININGS = (FEDERATED, ALONE, POOLED)
"""Ways of training: across the sites; at each site by itself; at one place with the training images of all sites."""

ANY = "*"
"""Stands for the name of an overlay's file, in the name of a method and in the last of its files."""

TAKEN = ("", "..", "features", "figures")
"""Names of the comparison's own folders; no method can have them."""

TAKEN_SUFFIXES = (".csv", ".html", ".json", ".tex")
"""Suffixes of the comparison's own files; no method's name can have them."""

DECIDED = ("bundle_root", "output_dir", "seed", "training", "unseen_site")
"""Entries of a federation that the comparison's own entries decide; `overrides` cannot set them."""


def check_methods(methods: Any) -> None:
    """Refuses methods without configuration files, and names that are unfit for folders and tables.

    Raises
    ------
    ValueError
        A name or its files are unfit; the message has them.
    """
    listed = isinstance(methods, Mapping) and methods
    if not listed or not all(isinstance(name, str) and _names(files) for name, files in methods.items()):
        raise ValueError(f"methods: expected a list of configuration files for each, found {methods}")
    for name, files in methods.items():
        check_name(name, "methods: method")
        if name != Path(name).name or name in TAKEN or Path(name).suffix in TAKEN_SUFFIXES or "," in name:
            raise ValueError(f"methods: found the name {name!r}, expected one that a folder can have, without a comma")
        _check_pattern(name, [files] if isinstance(files, str) else files)


def _check_pattern(name: str, files: Sequence[str]) -> None:
    """Refuses a pattern in a method's name alone or in its files alone: it would find methods of one name, or none."""
    places = [place for place, file in enumerate(files, start=1) if ANY in file]
    if places != ([len(files)] if ANY in name else []):
        expected = f"expected {ANY!r} in the name and in the last file, or in none of them"
        raise ValueError(f"methods: found the name {name!r} of the files {list(files)}, {expected}")


def check_lists(seeds: Any, training: Any, unseen: Sequence[str] | None) -> None:
    """Refuses seeds, ways of training and unseen sites that are invalid or listed twice.

    Raises
    ------
    ValueError
        An entry is refused; the message names the entry and its value.
    """
    if not _different(seeds) or not all(type(seed) is int for seed in seeds):
        raise ValueError(f"seeds: expected different whole numbers, found {seeds}")
    if not _different(training) or not set(training) <= set(TRAININGS):
        raise ValueError(f"training: expected some of {list(TRAININGS)}, each once, found {training}")
    if unseen is not None and not _different(unseen):
        raise ValueError(f"unseen_site: expected different names of sites, found {unseen}")


def check_entries(dataset_dir: Any, reach: Any, overrides: Any) -> None:
    """Refuses an invalid folder, an impossible score, and overrides of entries that the comparison decides.

    Raises
    ------
    ValueError
        An entry is refused; the message names the entry and its value.
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
    """Returns whether the values are a list of at least one value, without repetition."""
    if not isinstance(values, Sequence) or not values:
        return False
    return all(value not in values[:place] for place, value in enumerate(values))
