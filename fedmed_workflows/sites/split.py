"""Splits the images of a site into training, validation and test images, patient by patient."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.patients.split import FRACTIONS, PATIENT, check_apart, patient_of, split_by_patient
from fedmed_workflows.sites.datalist import SECTIONS, read_patients

Items = list[dict[str, Any]]
"""``{"image": path, "label": ...}`` for each image."""


def split_site(
    path: Path,
    sections: Mapping[str, Items],
    strata: Sequence[int],
    seed: int,
    patient_pattern: str | None = None,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> tuple[Items, Items, Items]:
    """Returns training, validation and test items.

    Sections of the datalist are used as they are; a missing section is split off ``training``.

    Parameters
    ----------
    path
        The folder or the datalist of the site.
    sections
        Items by section.
    strata
        Class of each item in the section ``training``. The items of each class are split in the same proportions.
    seed, fractions
        As for :func:`fedmed_transforms.patients.split.split_by_patient`.
    patient_pattern
        As for :func:`fedmed_transforms.patients.split.patient_of`.

    Raises
    ------
    ValueError
        A patient is in two sections of a datalist. The message names an image of each section.
    """
    items = sections.get("training", [])
    patients = patients_of(path, (item["image"] for part in sections.values() for item in part), patient_pattern)
    grouped = [patients[item["image"]] for item in items]
    training, validation, test = split_by_patient(grouped, strata, seed, fractions)
    if "validation" in sections:
        training, validation = training + validation, []
    if "test" in sections:
        training, test = training + test, []
    parts = (
        [items[index] for index in sorted(training)],
        sections.get("validation", [items[index] for index in validation]),
        sections.get("test", [items[index] for index in test]),
    )
    sides = zip(SECTIONS, parts, strict=True)
    check_apart({side: {item["image"]: patients[item["image"]] for item in part} for side, part in sides})
    return parts


def patients_of(path: Path, images: Iterable[str], pattern: str | None = None) -> dict[str, str]:
    """Returns the patient of each image, by image: the patient in the site's datalist, else the patient in the file.

    Parameters
    ----------
    path
        The folder or the datalist of the site.
    images
        Paths of the images of the site.
    pattern
        As for :func:`fedmed_transforms.patients.split.patient_of`.

    Raises
    ------
    ValueError
        As :func:`fedmed_transforms.patients.split.patient_of`.
    """
    named = read_patients(path)
    items = [{"image": image, PATIENT: named.get(image, "")} for image in images]
    return {item["image"]: relative_to_site(patient_of(item, pattern), path) for item in items}


def relative_to_site(image: str, site: Path) -> str:
    """A path without the part that differs from machine to machine."""
    folder = site if site.is_dir() else site.parent
    return image.removeprefix(f"{folder}{os.sep}")
