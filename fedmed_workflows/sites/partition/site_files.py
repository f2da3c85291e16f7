"""The sites of a partition as files: a datalist each, a picture of all, and how they were made."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmed_networks.settings import check_number
from fedmed_transforms.patients.split import PATIENT
from fedmed_transforms.whole_file import whole_folder
from fedmed_workflows.drawing import png
from fedmed_workflows.sites.class_folders import check_name
from fedmed_workflows.sites.datalist import SECTIONS, datalist_of
from fedmed_workflows.sites.federation_sites import PARTITION
from fedmed_workflows.sites.partition.division import Scheme
from fedmed_workflows.sites.partition.picture import partition_figure
from fedmed_workflows.sites.partition.pool import Pool, Sample, class_counts, patient_count

PICTURE = "partition.png"
"""Beside the sites: the images of each site by class."""


def write_partition(pool: Pool, scheme: Scheme, seed: int, output_dir: str | Path) -> dict[str, Any]:
    """Divides a pool and writes ``SITE.json`` a site, ``partition.json`` and ``partition.png``, all or nothing.

    No image is copied: the datalists name the images by their paths relative to the folder, so that both can be moved
    together. A folder that holds this partition already is left as it is.

    Parameters
    ----------
    pool
        The images.
    scheme
        How to divide them.
    seed
        Of all that is left to chance, 0 or above.
    output_dir
        Where to write: missing, empty, or holding this partition. Not among the images.

    Returns
    -------
    dict
        What ``partition.json`` says.

    Raises
    ------
    ValueError
        The images do not make such sites, or the folder holds something else; the message names it.
    """
    check_number("seed", seed, least=0, below=2**32, whole=True)
    folder = Path(output_dir)
    _check_place(pool, folder)
    division = scheme.divide(pool, seed)
    for site in division.sites:
        check_name(site, f"{pool.source}: site")
    texts = {site: _text(_datalist(pool, samples, folder)) for site, samples in division.sites.items()}
    record = {
        "source": _relative(pool.source, folder),
        "by": scheme.name,
        "settings": dict(vars(scheme)),
        "seed": seed,
        "patient_pattern": pool.patient_pattern,
        **division.details,
        "class_names": pool.class_names,
        "sites": {site: _described(pool, samples, texts[site]) for site, samples in division.sites.items()},
    }
    if not _holds(folder, record):
        with whole_folder(folder) as unfinished:
            for site, text in texts.items():
                (unfinished / f"{site}.json").write_text(text)
            (unfinished / PICTURE).write_bytes(png(partition_figure(record)))
            (unfinished / PARTITION).write_text(_text(record))
    return record


def _check_place(pool: Pool, folder: Path) -> None:
    """What is written among the images would be taken for a class, or read as a site of its own."""
    if datalist_of(pool.source) is None and folder.resolve().is_relative_to(pool.source.resolve()):
        raise ValueError(f"{folder}: expected a folder outside of the images in {pool.source}")


def _holds(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the folder holds this partition already; refuses one that holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    file = folder / PARTITION
    if not file.is_file() or file.read_text() != _text(record):
        found = "another partition" if file.is_file() else "something else"
        raise ValueError(f"{folder}: found {found}, expected a new or an empty folder")
    return True


def _described(pool: Pool, samples: list[Sample], text: str) -> dict[str, Any]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {
        "patients": patient_count(pool, samples),
        "images": len(samples),
        "classes": class_counts(samples, pool.class_names),
        "sha256": digest,
    }


def _datalist(pool: Pool, samples: list[Sample], folder: Path) -> dict[str, Any]:
    classes = {"class_names": pool.class_names} if pool.class_names else {}
    sections = {
        section: [_item(pool, sample, folder) for sample in samples if sample.section == section]
        for section in SECTIONS
    }
    return {**classes, **{section: items for section, items in sections.items() if items}}


def _item(pool: Pool, sample: Sample, folder: Path) -> dict[str, str]:
    label = sample.label if pool.class_names else _relative(Path(sample.label), folder)
    patient = {PATIENT: sample.named} if sample.named is not None else {}
    return {"image": _relative(Path(sample.image), folder), "label": label, **patient}


def _relative(path: Path, folder: Path) -> str:
    """A path as a file in the folder names it; links in the paths of both are followed, those to single images not."""
    absolute = path.parent.resolve() / path.name
    return Path(os.path.relpath(absolute, folder.parent.resolve() / folder.name)).as_posix()


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
