"""Splits images into training, validation and test, and keeps the images of a patient together."""

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
"""Entry of a datalist's item with the patient; it takes precedence over the image's file."""

GROUPING_ELEMENTS = {
    "PatientID": "patient",
    "StudyInstanceUID": "study",
    "FrameOfReferenceUID": "frame of reference",
    "SeriesInstanceUID": "series",
}
"""DICOM elements that keep images together; the first element with a value counts. Without a patient, the images of one
visit or of one series belong to one patient."""


def patient_of(image: str | Path | Mapping[str, Any], pattern: str | None = None) -> str:
    """Returns the patient of an image: images with equal results stay together in a split.

    The patient is, in this order: the entry of the datalist's item; the text that a pattern finds in the file's name;
    the DICOM patient, study, frame of reference or series (:data:`GROUPING_ELEMENTS`); the file itself. Images with one
    PatientID stay together even if anonymisation gave the same PatientID to every patient: then no image is left for
    validation, and a pattern or the datalist must distinguish the patients.

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
        The pattern does not have exactly one group or does not match the name, or the file cannot be read; the message
        names the file.
    """
    if isinstance(image, Mapping):
        named = str(image.get(PATIENT, "")).strip()
        return f"patient {named}" if named else patient_of(image["image"], pattern)
    if pattern is not None:
        return _patient_in_name(Path(image), pattern)
    values = header_elements(Path(image), list(GROUPING_ELEMENTS)) or {}
    return next((f"{GROUPING_ELEMENTS[keyword]} {value}" for keyword, value in values.items() if value), str(image))


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
        Images with their patient from :func:`patient_of`, by the name of the side (training, validation, test, or a
        site).

    Raises
    ------
    ValueError
        A patient is on two sides; the message names one image on each side, and never the patient.
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
    """Splits images into the indices of training, validation and test, by patient and with equal shares of each class.

    A class of three or more patients has at least one patient in validation and one in test; a part with fraction 0
    stays empty. The split depends only on the names and the seed, not on the order of the images.

    Parameters
    ----------
    patients, labels
        One entry for each image. A patient with images of several classes is split with the first class.
    seed
        Seed of the random order.
    fractions
        Fractions of training, validation and test; they sum to one.
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
    """Returns the number of a class's patients in a part: at least one of three or more, none for a fraction of 0."""
    least = 1 if patients >= 3 and fraction > 0 else 0
    return max(least, round(fraction * patients))
