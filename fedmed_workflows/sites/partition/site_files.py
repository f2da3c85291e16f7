"""Writes the sites of a partition: one datalist for each site, the record of the partition, and its picture."""

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
"""Name of the picture beside the sites, which shows the images of each site by class."""


def write_partition(pool: Pool, scheme: Scheme, seed: int, output_dir: str | Path) -> dict[str, Any]:
    """Divides a pool; writes ``SITE.json`` for each site, ``partition.json`` and ``partition.png``, atomically.

    No image is copied. The datalists name the images by paths relative to the folder, so that images and folder can be
    moved together. A folder that already has this partition is not changed.

    Parameters
    ----------
    pool
        The images.
    scheme
        The scheme that divides the images.
    seed
        Seed of all random draws, 0 or above.
    output_dir
        Folder for the files: missing, empty, or with this partition. It must be outside the folder of the images.

    Returns
    -------
    dict
        Content of ``partition.json``.

    Raises
    ------
    ValueError
        The images cannot be divided into such sites, or the folder has other files. The message names the folder.
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
    """Refuses a folder among the images, which would be read as a class or as a site."""
    if datalist_of(pool.source) is None and folder.resolve().is_relative_to(pool.source.resolve()):
        raise ValueError(f"{folder}: expected a folder outside of the images in {pool.source}")


def _holds(folder: Path, record: Mapping[str, Any]) -> bool:
    """Returns whether the folder has this partition; refuses a folder with other files."""
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
    """Returns a path relative to the folder. Links to folders are resolved, links to single images are not."""
    absolute = path.parent.resolve() / path.name
    return Path(os.path.relpath(absolute, folder.parent.resolve() / folder.name)).as_posix()


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
