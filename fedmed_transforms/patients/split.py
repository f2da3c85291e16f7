"""Splits that keep a patient's images together."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.patients.header_elements import header_elements

FRACTIONS = (0.8, 0.1, 0.1)
"""Training, validation, test: the split of the FACMIC paper."""


PATIENT = "patient"
"""Entry of a datalist's item: the patient, whatever the image's file says."""

TOGETHER = {
    "PatientID": "patient",
    "StudyInstanceUID": "study",
    "FrameOfReferenceUID": "frame of reference",
    "SeriesInstanceUID": "series",
}
"""DICOM elements that keep images together, the first that an image has: where nobody says whose an image is, the
images of one visit, at least those of one series, are of one patient."""


def patient_of(image: str | Path | Mapping[str, Any], pattern: str | None = None) -> str:
    """What keeps images together in a split.

    The patient that a datalist's item names; else what a pattern finds in the file's name; else the DICOM patient,
    study, frame of reference or series (:data:`TOGETHER`); else the file itself. Images with one PatientID stay
    together even if anonymisation gave it to everybody: then nothing is left for validation, and a pattern or the
    datalist has to tell the patients apart.

    Parameters
    ----------
    image
        A file, a folder with a DICOM series, or a datalist's item ``{"image": path, "patient": patient}``.
    pattern
        Regular expression with one group, the patient, that is searched in the name of the file or folder, such as
        ``"^(patient[0-9]+)_"``.

    Raises
    ------
    ValueError
        The pattern has not one group or does not match the name, or the file cannot be read; the message names the
        file.
    """
    if isinstance(image, Mapping):
        named = str(image.get(PATIENT, "")).strip()
        return f"patient {named}" if named else patient_of(image["image"], pattern)
    if pattern is not None:
        return _patient_in_name(Path(image), pattern)
    values = header_elements(Path(image), list(TOGETHER)) or {}
    return next((f"{TOGETHER[keyword]} {value}" for keyword, value in values.items() if value), str(image))


def _patient_in_name(path: Path, pattern: str) -> str:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"patient_pattern {pattern!r}: expected a regular expression, found {error}") from error
    if expression.groups != 1:
        raise ValueError(f"patient_pattern {pattern!r}: found {expression.groups} groups, expected one, the patient")
    found = expression.search(path.name)
    if not found or not found.group(1):
        raise ValueError(f"{path}: found no patient in the name, expected one by the pattern {pattern!r}")
    return f"patient {found.group(1)}"


def check_apart(sides: Mapping[str, Mapping[str, str]]) -> None:
    """Refuses a split that puts a patient on two sides.

    Parameters
    ----------
    sides
        By name (training, validation, test, or a site's): the images of the side, each with its patient as
        :func:`patient_of` returns it.

    Raises
    ------
    ValueError
        A patient is on two sides; the message names an image on each, and never the patient.
    """
    seen: dict[str, tuple[str, str]] = {}
    for side, images in sides.items():
        for image, patient in images.items():
            other, elsewhere = seen.setdefault(patient, (side, image))
            if other != side:
                raise ValueError(
                    f"{elsewhere} ({other}) and {image} ({side}): found one patient, study or series on two sides of a "
                    "split, expected every patient on one"
                )


def split_by_patient(
    patients: Sequence[str], labels: Sequence[int], seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> tuple[list[int], list[int], list[int]]:
    """Indices of training, validation and test images; no patient is in two of them, every class is split alike.

    A class of three patients or more has at least one of them in validation and in test, unless that part's fraction
    is 0: such a part stays empty. The split depends on the names and the seed alone, not on the order of the images.

    Parameters
    ----------
    patients, labels
        One entry an image. A patient with images of several classes is split with the first of them.
    seed
        Seed of the random order.
    fractions
        Of training, validation and test; they sum to one.
    """
    label_of = dict(reversed(sorted(zip(patients, labels, strict=True))))
    classes: dict[int, list[str]] = {}
    for patient in sorted(label_of):
        classes.setdefault(label_of[patient], []).append(patient)
    part_of: dict[str, int] = {}
    for label, group in sorted(classes.items()):
        random.Random(f"{seed}/{label}").shuffle(group)
        validation, test = (_share(fraction, len(group)) for fraction in fractions[1:])
        for place, patient in enumerate(group):
            part_of[patient] = 2 if place < test else 1 if place < test + validation else 0
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index, patient in enumerate(patients):
        parts[part_of[patient]].append(index)
    return parts


def _share(fraction: float, patients: int) -> int:
    """How many of a class's patients a part gets: of three or more at least one, of a fraction of 0 none."""
    least = 1 if patients >= 3 and fraction > 0 else 0
    return max(least, round(fraction * patients))
