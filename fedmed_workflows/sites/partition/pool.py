"""The images that a partition divides, with their classes and patients."""

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
"""Prefix that :func:`fedmed_transforms.patients.split.patient_of` adds to a patient, but not to a study."""


@dataclass(frozen=True)
class Sample:
    """An image of the pool.

    Attributes
    ----------
    image
        Path of the image.
    section
        Section of the image in the source's datalist; ``training`` for a folder.
    label
        Class of the image, or path of its label.
    patient
        Key of the patient, whose images stay together, from :func:`fedmed_transforms.patients.split.patient_of`.
    named
        Name of the patient from a datalist or a pattern; None if the name is from the image's header, or unknown.
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
        The folder, or the file of the datalist.
    samples
        The images, in the order of their paths.
    class_names
        The classes, in alphabetical order; empty for a segmentation.
    patient_pattern
        Regular expression that found the patients in the file names, or None.
    """

    source: Path
    samples: list[Sample]
    class_names: list[str]
    patient_pattern: str | None = None

    @cached_property
    def by_patient(self) -> dict[str, list[Sample]]:
        """The images of every patient, by patient, in the order of the patients' names."""
        found: dict[str, list[Sample]] = {sample.patient: [] for sample in sorted(self.samples, key=_patient)}
        for sample in self.samples:
            found[sample.patient].append(sample)
        return found

    @cached_property
    def class_of(self) -> dict[str, int]:
        """The index of the first class among a patient's images, by patient; 0 for a segmentation."""
        index = {name: place for place, name in enumerate(self.class_names)}
        return {
            patient: min(index.get(sample.label, 0) for sample in samples)
            for patient, samples in self.by_patient.items()
        }

    @cached_property
    def sections(self) -> set[str]:
        """The sections of the source."""
        return {sample.section for sample in self.samples}

    def name_of(self, image: str) -> str:
        """Returns the path of an image relative to the source, which is the same on every machine."""
        return Path(relative_to_site(image, self.source)).as_posix()


def _patient(sample: Sample) -> str:
    return sample.patient


def read_pool(source: str | Path, patient_pattern: str | None = None) -> Pool:
    """Reads the images of a folder of class folders, a folder with ``images`` and ``labels``, or a MONAI datalist.

    Parameters
    ----------
    source
        The folder, a folder with a ``datalist.json``, or the file of a datalist.
    patient_pattern
        Regular expression with one group that finds the patient in a file name, for files that do not name the patient.

    Raises
    ------
    ValueError
        There is no image, the source has another layout, or an image cannot be read. The message names the folder or
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
    """Returns the number of patients; None if the patients of all images are unknown."""
    known = any(sample.patient != relative_to_site(sample.image, pool.source) for sample in samples)
    return len({sample.patient for sample in samples}) if known else None


def class_counts(samples: list[Sample], class_names: list[str]) -> dict[str, int]:
    """Returns the number of images of each class."""
    found = Counter(sample.label for sample in samples)
    return {name: found[name] for name in class_names}


def _name(patient: str, is_named: bool) -> str | None:
    return patient.removeprefix(PATIENT_PREFIX) if is_named and patient.startswith(PATIENT_PREFIX) else None


def _is_segmentation(source: Path) -> bool:
    """Returns whether the images have label files. An invalid datalist is refused later, by its reader."""
    datalist = datalist_of(source)
    if datalist is None:
        return all((source / part).is_dir() for part in ("images", "labels"))
    try:
        content = json.loads(datalist.read_text())
        labels = [item["label"] for section in SECTIONS for item in content.get(section) or ()]
        return any(isinstance(label, str) and (datalist.parent / label).is_file() for label in labels)
    except Exception:
        return False
