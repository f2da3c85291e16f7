"""Splits that keep a patient's images together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pydicom

from fedmed_transforms.find import first_file
from fedmed_transforms.series import is_dicom

FRACTIONS = (0.8, 0.1, 0.1)
"""Training, validation, test: the split of the FACMIC paper."""


def patient_of(image: str | Path) -> str:
    """What keeps images together in a split: the DICOM patient, elsewhere the file itself.

    Parameters
    ----------
    image
        A file, or a folder with a DICOM series.
    """
    file = first_file(Path(image))
    if not is_dicom(file):
        return str(image)
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["PatientID"], force=True)
    patient = str(header.get("PatientID", "") or "").strip()
    return f"patient {patient}" if patient else str(image)


def split_by_patient(
    patients: Sequence[str], labels: Sequence[int], seed: int, fractions: tuple[float, float, float] = FRACTIONS
) -> tuple[list[int], list[int], list[int]]:
    """Indices of training, validation and test images; no patient is in two of them, every class is split alike.

    A class of three patients or more has at least one of them in each part. The split depends on the names and the
    seed alone, not on the order of the images.

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
        least = 1 if len(group) >= 3 else 0
        test = max(least, round(fractions[2] * len(group)))
        validation = max(least, round(fractions[1] * len(group)))
        for place, patient in enumerate(group):
            part_of[patient] = 2 if place < test else 1 if place < test + validation else 0
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for index, patient in enumerate(patients):
        parts[part_of[patient]].append(index)
    return parts
