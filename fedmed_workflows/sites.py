"""Sites: a folder of class folders, or a datalist, as images with labels and splits."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.split import PATIENT, check_apart, patient_of, split_by_patient
from fedmed_workflows.fingerprint import content_digest
from fedmed_workflows.site_images import SECTIONS, check_name, read_patients, read_site


class ClassificationSite:
    """The images of one site, with their classes and their split.

    Parameters
    ----------
    dataset_dir
        A folder ``CLASS/*`` of jpg, png, DICOM or NIfTI files (or folders with one DICOM series each), a folder with a
        ``datalist.json``, or a datalist's file. A datalist holds items ``{"image": path, "label": class}`` under
        ``training``, and optionally ``validation`` and ``test``; paths are relative to it, a class is a name or an
        index into its ``class_names``. An item may name its ``"patient"``.
    class_names
        All classes, in the order of the logits; None for those found here, in alphabetical order.
    batch_size
        The least number of training images.
    seed
        Seed of the 80/10/10 split, patient by patient.
    held_out
        An unseen site: every image is for testing, none for training.
    patient_pattern
        Regular expression with one group that finds the patient in a file's name, for images whose files do not say.

    Attributes
    ----------
    training, validation, test
        ``{"image": path, "label": int}`` an image.

    Raises
    ------
    ValueError
        No images, a class that is not among `class_names`, less than one batch for training, no image left for
        validation or test, or a patient in two sections of a datalist; the message names the site's folder or file.
    """

    def __init__(
        self,
        dataset_dir: str,
        class_names: Sequence[str] | None = None,
        batch_size: int = 2,
        seed: int = 0,
        held_out: bool = False,
        patient_pattern: str | None = None,
    ) -> None:
        self.path = Path(dataset_dir)
        self.patient_pattern = patient_pattern
        sections = read_site(self.path)
        found = sorted({name for items in sections.values() for _, name in items})
        self.class_names = given_classes(class_names) or found
        unknown = sorted(set(found) - set(self.class_names))
        if unknown:
            raise ValueError(f"{self.path}: found the classes {unknown}, expected some of {self.class_names}")
        labelled = {section: [self._item(*item) for item in items] for section, items in sections.items()}
        every = [item for items in labelled.values() for item in items]
        self.training, self.validation, self.test = ([], every, every) if held_out else self._split(labelled, seed)
        if not held_out:
            self._check(batch_size)

    def _item(self, image: str, name: str) -> dict[str, Any]:
        return {"image": image, "label": self.class_names.index(name)}

    def _split(self, sections: Mapping[str, list[dict[str, Any]]], seed: int) -> list[list[dict[str, Any]]]:
        """The datalist's own sections; what it leaves out is split off its training section."""
        items = sections.get("training", [])
        patients = self._patients(item["image"] for part in sections.values() for item in part)
        grouped, labels = [patients[item["image"]] for item in items], [item["label"] for item in items]
        training, validation, test = split_by_patient(grouped, labels, seed)
        if "validation" in sections:
            training, validation = training + validation, []
        if "test" in sections:
            training, test = training + test, []
        parts = [
            [items[index] for index in sorted(training)],
            sections.get("validation", [items[index] for index in validation]),
            sections.get("test", [items[index] for index in test]),
        ]
        sides = zip(SECTIONS, parts, strict=True)
        check_apart({side: {item["image"]: patients[item["image"]] for item in part} for side, part in sides})
        return parts

    def _patients(self, images: Iterable[str]) -> dict[str, str]:
        """By image: the patient that the datalist names, or that the file does."""
        named = read_patients(self.path)
        items = [{"image": image, PATIENT: named.get(image, "")} for image in images]
        return {item["image"]: _within(patient_of(item, self.patient_pattern), self.path) for item in items}

    def _check(self, batch_size: int) -> None:
        if batch_size < 2:
            raise ValueError(f"batch_size: expected at least 2, which BatchNorm needs, found {batch_size}")
        if len(self.training) < batch_size:
            raise ValueError(
                f"{self.path}: found {len(self.training)} training images after the split, "
                f"expected at least one batch of {batch_size}"
            )
        for part, items in (("validation", self.validation), ("test", self.test)):
            if not items:
                raise ValueError(f"{self.path}: found no {part} image after the split, expected three of some class")


class ClassificationSites:
    """The sites of a federation: a folder or a datalist each, side by side in one folder.

    Parameters
    ----------
    dataset_dir
        Holds ``SITE/CLASS/*``, ``SITE/datalist.json`` or ``SITE.json``, one a site.
    sites
        Names of the training sites; None for all but the unseen one.
    unseen_site
        Name of the site that never trains, or None.
    class_names
        All classes; None for those found, in alphabetical order. Then a class of one site only is refused, as a
        folder that was misnamed would otherwise become a class; name it here to keep it.

    Attributes
    ----------
    folders
        Path by name of the training sites, in alphabetical order.
    unseen
        ``(name, path)`` of the unseen site, or None.
    class_names
        The classes, in the order of the logits.
    digest
        Of every site's image names, contents and classes: what a run's data were.

    Raises
    ------
    ValueError
        A site does not exist or has no images, no training site is left, or a class is known to one site only; the
        message names the site, what was found and what was expected.
    """

    def __init__(
        self,
        dataset_dir: str,
        sites: Sequence[str] | None = None,
        unseen_site: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        root = Path(dataset_dir)
        present = _sites_in(root)
        unseen_site = None if unseen_site is None else str(unseen_site)
        named = [sites] if isinstance(sites, str) else sites
        training = sorted(str(site) for site in named) if named else sorted(set(present) - {unseen_site})
        for role, site in [("site", site) for site in training] + (
            [("unseen site", unseen_site)] if unseen_site else []
        ):
            if site not in present:
                raise ValueError(f"{role} {site!r}: not found in {root}, which holds {sorted(present)}")
        if not training or unseen_site in training:
            raise ValueError(
                f"{root}: training sites {training}, unseen site {unseen_site!r}: expected at least one "
                "training site besides the unseen one"
            )
        for site in [*training, *([unseen_site] if unseen_site else [])]:
            check_name(site, f"{root}: site")
        self.folders = {site: present[site] for site in training}
        self.unseen = (unseen_site, present[unseen_site]) if unseen_site else None
        paths = {**self.folders, **({self.unseen[0]: self.unseen[1]} if self.unseen else {})}
        items = {site: read_site(path) for site, path in paths.items()}
        by_site = {site: {name for part in parts.values() for _, name in part} for site, parts in items.items()}
        self.class_names = given_classes(class_names) or sorted(set().union(*by_site.values()))
        _check_classes(paths, by_site, self.class_names if class_names else None)
        self.digest = _digest(paths, items)


def _sites_in(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise ValueError(f"dataset_dir {root}: expected a folder that holds one folder a site")
    entries = [path for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    return {
        path.stem if path.is_file() else path.name: path for path in entries if path.is_dir() or path.suffix == ".json"
    }


def _check_classes(paths: Mapping[str, Path], by_site: Mapping[str, set[str]], given: list[str] | None) -> None:
    known_to = Counter(name for names in by_site.values() for name in names)
    for site, names in by_site.items():
        expected = set(given) if given else {name for name, count in known_to.items() if count > 1}
        strange = sorted(names - expected)
        if strange and (given or len(by_site) > 1):
            raise ValueError(
                f"site {site!r}: {paths[site]} has the classes {strange}, unknown to the other sites; "
                f"expected some of {sorted(expected)}"
            )


def _digest(paths: Mapping[str, Path], items: Mapping[str, Mapping[str, list[tuple[str, str]]]]) -> str:
    digest = hashlib.sha256()
    for site in sorted(items):
        for section, entries in items[site].items():
            for image, name in entries:
                content = content_digest(image)
                digest.update(f"{site} {section} {_within(image, paths[site])} {name} {content}\n".encode())
    return digest.hexdigest()


def given_classes(class_names: Sequence[str] | None) -> list[str]:
    """The classes that a configuration names, or none.

    Raises
    ------
    ValueError
        One text where a list of names is expected.
    """
    if isinstance(class_names, str):
        raise ValueError(f"class_names: expected a list of names, found the text {class_names!r}")
    return [str(name) for name in class_names or ()]


def _within(image: str, site: Path) -> str:
    """A path without the part that differs from machine to machine."""
    folder = site if site.is_dir() else site.parent
    return image.removeprefix(f"{folder}{os.sep}")
