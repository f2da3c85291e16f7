"""The training images of a run: those of all sites in a federation, of one site alone, or of all sites pooled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed_transforms.patients.split import PATIENT
from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.federation.engine import ENGINES, engines_that
from fedmed_workflows.sites.datalist import SECTIONS
from fedmed_workflows.sites.federation_sites import FederationSites

if TYPE_CHECKING:
    from fedmed_workflows.federation.site.site_algo import SiteAlgo

FEDERATED, ALONE, POOLED = "federated", "alone", "pooled"
"""The values of the setting `training`: across the sites; at each site alone, in its own run; at one place that has the
training images of all sites. The name of a site as the value trains at that site alone."""

ALONE_NOTE = "Trained at {} alone: the other sites were only evaluated, and no tensor was exchanged."

POOLED_NOTE = (
    "Trained centrally on the pooled training images of {}, with the splits of the federation: this result "
    "is not possible where images must not leave a site. The bytes are those of a federation with one site."
)


def check_one_place(training: str, sites: FederationSites, engine: str) -> None:
    """Refuses a training at one place that the sites or the engine do not support.

    Raises
    ------
    ValueError
        `training` is neither one of the three values nor a training site, a site has the name of one of the values,
        sites to be pooled have simulated shifts, or the sites are not all in this process.
    """
    if training not in (ALONE, POOLED, *sites.folders):
        raise ValueError(f"training: found {training!r}, expected one of {[FEDERATED, ALONE, POOLED, *sites.folders]}")
    taken = sorted({FEDERATED, ALONE, POOLED} & set(sites.paths))
    if taken:
        raise ValueError(f"training {training!r}: a site is named {taken[0]!r}, expected another name for it")
    if training == POOLED and sites.shifts:
        raise ValueError(
            f"training {training!r}: found shifts of {sorted(sites.shifts)}, expected none: a shift is a setting of "
            "one site, and the pooled images are one site's"
        )
    if not ENGINES[engine].in_one_process or sites.elsewhere:
        where = "at the sites" if sites.elsewhere else "here"
        raise ValueError(
            f"training {training!r}: one place trains; found the engine {engine!r} and images {where}, "
            f"expected the engine {engines_that('in_one_process')} and the images here"
        )


def training_folders(
    training: str, folders: Mapping[str, Path], output_dir: Path
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Returns the paths, by name, of the sites that train, and of the sites that are only evaluated."""
    if training == FEDERATED:
        return dict(folders), {}
    if training == POOLED:
        return {POOLED: output_dir / f"{POOLED}.json"}, dict(folders)
    others = {name: path for name, path in folders.items() if name != training}
    return {training: folders[training]}, others


def training_notes(training: str, sites: Iterable[str]) -> list[str]:
    """Returns the notes for the report that state where the network was trained."""
    if training == FEDERATED:
        return []
    if training == POOLED:
        return [POOLED_NOTE.format(", ".join(sites))]
    return [ALONE_NOTE.format(training)]


def write_pooled(sites: Mapping[str, SiteAlgo], file: Path) -> None:
    """Writes one datalist with the images of all sites. Each image keeps the section that it has at its site.

    Parameters
    ----------
    sites
        The initialized sites, by name. The component ``site`` of their training configuration has the splits.
    file
        Path of the datalist. The datalist names the images by their paths; no image is copied.
    """
    parts = [algo.setting("site") for algo in sites.values()]
    listed = {
        section: [_item(item) for site in parts for item in _section(site, section)] for section in SECTIONS
    }
    names = {"class_names": list(parts[0].class_names)} if hasattr(parts[0], "class_names") else {}
    content = {**names, **{section: items for section, items in listed.items() if items}}
    write_whole(file, json.dumps(content, indent=2))


def _section(site: Any, section: str) -> list[dict[str, Any]]:
    """Returns the items of a section; none for ``test`` if the test images are the validation images."""
    same = section == "test" and site.test is site.validation
    items: list[dict[str, Any]] = [] if same else getattr(site, section)
    return items


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an item with absolute paths. Each image is its own patient: two sites may use the same patient name."""
    label = item["label"] if isinstance(item["label"], int) else str(Path(item["label"]).resolve())
    path = str(Path(item["image"]).resolve())
    return {"image": path, "label": label, PATIENT: path}
