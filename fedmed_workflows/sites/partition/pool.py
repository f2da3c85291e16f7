"""The images that a partition divides, and whose they are."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fedmed_workflows.sites.class_folders import read_site
from fedmed_workflows.sites.datalist import SECTIONS, datalist_of, read_patients
from fedmed_workflows.sites.segmentation_sites import read_pairs
from fedmed_workflows.sites.split import patients_of, relative_to_site

PATIENT_PREFIX = "patient "
"""Prefix that :func:`fedmed_transforms.patients.split.patient_of` puts before a patient, not before a study."""


@dataclass(frozen=True)
class Sample:
    """An image of the pool.

    Attributes
    ----------
    image
        Its path.
    section
        Of the source's datalist; ``training`` of a folder.
    label
        Its class, or its label's path.
    patient
        What keeps images together, as of :func:`fedmed_transforms.patients.split.patient_of`.
    named
        The patient's name where a datalist or a pattern told it; None where the image's own header does, or nothing.
    """

    image: str
    section: str
    label: str
    patient: str
    named: str | None


@dataclass(frozen=True)
class Pool:
    """All images of a folder or a datalist.

    Attributes
    ----------
    source
        The folder, or the datalist's file.
    samples
        In the order of their paths within the source.
    class_names
        In alphabetical order; none of a segmentation.
    patient_pattern
        What found the patients in the files' names.
    """

    source: Path
    samples: list[Sample]
    class_names: list[str]
    patient_pattern: str | None = None

    @cached_property
    def by_patient(self) -> dict[str, list[Sample]]:
        """The images of every patient, patients in the order of their names."""
        found: dict[str, list[Sample]] = {sample.patient: [] for sample in sorted(self.samples, key=_patient)}
        for sample in self.samples:
            found[sample.patient].append(sample)
        return found

    @cached_property
    def class_of(self) -> dict[str, int]:
        """By patient, the index of the first class that its images have, which it counts for; 0 of a segmentation."""
        index = {name: place for place, name in enumerate(self.class_names)}
        return {
            patient: min(index.get(sample.label, 0) for sample in samples)
            for patient, samples in self.by_patient.items()
        }

    @cached_property
    def sections(self) -> set[str]:
        """The sections that the source has."""
        return {sample.section for sample in self.samples}

    def name_of(self, image: str) -> str:
        """An image's path within the source, the same on every machine."""
        return Path(relative_to_site(image, self.source)).as_posix()


def _patient(sample: Sample) -> str:
    return sample.patient


def read_pool(source: str | Path, patient_pattern: str | None = None) -> Pool:
    """The images of a folder of class folders, a folder with ``images`` and ``labels``, or a MONAI datalist.

    Parameters
    ----------
    source
        The folder, a folder with a ``datalist.json``, or a datalist's file.
    patient_pattern
        Regular expression with one group that finds the patient in a file's name, for images whose files do not say.

    Raises
    ------
    ValueError
        There is no image, the source has another layout, or an image cannot be read; the message names the folder or
        the file.
    """
    path = Path(source)
    if not path.exists():
        raise ValueError(f"{path}: found nothing, expected a folder of images, or a datalist")
    segmented = _is_segmentation(path)
    sections = read_pairs(path) if segmented else read_site(path)
    images = [image for items in sections.values() for image, _ in items]
    patients, named = patients_of(path, images, patient_pattern), read_patients(path)
    samples = [
        Sample(image, section, label, patients[image], _name(patients[image], bool(patient_pattern) or image in named))
        for section, items in sections.items()
        for image, label in items
    ]
    classes = [] if segmented else sorted({sample.label for sample in samples})
    return Pool(path, sorted(samples, key=lambda sample: Path(sample.image).as_posix()), classes, patient_pattern)


def patient_count(pool: Pool, samples: list[Sample]) -> int | None:
    """How many patients there are; None where nothing says whose any of the images is."""
    known = any(sample.patient != relative_to_site(sample.image, pool.source) for sample in samples)
    return len({sample.patient for sample in samples}) if known else None


def class_counts(samples: list[Sample], class_names: list[str]) -> dict[str, int]:
    """How many images each class has, of a classification."""
    found = Counter(sample.label for sample in samples)
    return {name: found[name] for name in class_names}


def _name(patient: str, told: bool) -> str | None:
    return patient.removeprefix(PATIENT_PREFIX) if told and patient.startswith(PATIENT_PREFIX) else None


def _is_segmentation(source: Path) -> bool:
    """Whether images have label files; what is no datalist is refused by who reads it as one."""
    datalist = datalist_of(source)
    if datalist is None:
        return all((source / part).is_dir() for part in ("images", "labels"))
    try:
        content = json.loads(datalist.read_text())
        labels = [item["label"] for section in SECTIONS for item in content.get(section) or ()]
        return any(isinstance(label, str) and (datalist.parent / label).is_file() for label in labels)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
