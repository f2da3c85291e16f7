"""Sites: a folder of class folders, or a datalist, as images with labels and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_networks.clip.class_names import checkpoint_class_names
from fedmed_workflows.sites.cases import CaseReader, classification_reader
from fedmed_workflows.sites.class_folders import read_site
from fedmed_workflows.sites.datalist import declared_classes
from fedmed_workflows.sites.federation_sites import FederationSites, data_digest
from fedmed_workflows.sites.split import split_site


class ClassificationSite:
    """The images of one site, with their classes and their split.

    Parameters
    ----------
    dataset_dir
        A folder ``CLASS/*`` of jpg, png, DICOM or NIfTI files (or folders with one DICOM series each), a folder with a
        ``datalist.json``, or a datalist's file. A datalist holds items ``{"image": path, "label": class}`` under
        ``training``, and optionally ``validation`` and ``test``; paths are relative to it, a class is a name or an
        index into its ``class_names``. An item may name its ``"patient"``. None where another program brings the
        labelled images along, as MONAI Label does: then training goes on from the `checkpoint`, with its classes.
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
    checkpoint
        The bundle's trained network.

    Attributes
    ----------
    training, validation, test
        ``{"image": path, "label": int}`` an image.
    checkpoint
        What training goes on from; None where it starts anew, as of a site's folder it does.

    Raises
    ------
    ValueError
        Neither a folder nor a checkpoint, no images, a class that is not among `class_names`, less than one batch for
        training, no image left for validation or test, or a patient in two sections of a datalist; the message names
        the site's folder or file.
    """

    def __init__(
        self,
        dataset_dir: str | None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 2,
        seed: int = 0,
        held_out: bool = False,
        patient_pattern: str | None = None,
        checkpoint: str | None = None,
    ) -> None:
        self.checkpoint = checkpoint if dataset_dir is None else None
        if dataset_dir is None:
            self.class_names = _trained_classes(checkpoint)
            self.training, self.validation, self.test = (list[dict[str, Any]]() for _ in range(3))
            return
        self.path = Path(dataset_dir)
        sections = read_site(self.path)
        found = sorted({name for items in sections.values() for _, name in items})
        self.class_names = given_classes(class_names) or found
        unknown = sorted(set(found) - set(self.class_names))
        if unknown:
            raise ValueError(f"{self.path}: found the classes {unknown}, expected some of {self.class_names}")
        labelled = {section: [self._item(*item) for item in items] for section, items in sections.items()}
        every = [item for items in labelled.values() for item in items]
        strata = [item["label"] for item in labelled.get("training", [])]
        split = ([], every, every) if held_out else split_site(self.path, labelled, strata, seed, patient_pattern)
        self.training, self.validation, self.test = split
        if not held_out:
            self._check(batch_size)

    def _item(self, image: str, name: str) -> dict[str, Any]:
        return {"image": image, "label": self.class_names.index(name)}

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


def _trained_classes(checkpoint: str | None) -> list[str]:
    if checkpoint is None or not Path(checkpoint).is_file():
        raise ValueError(f"dataset_dir: expected the folder of a site, found none, and no checkpoint {checkpoint}")
    return checkpoint_class_names(checkpoint)


class ClassificationSites(FederationSites):
    """The sites of a federation that classifies.

    Parameters
    ----------
    dataset_dir
        Holds ``SITE/CLASS/*``, ``SITE/datalist.json`` or ``SITE.json``, one a site. ``none`` if the images are at the
        sites themselves: then `sites` and `class_names` are named.
    sites, unseen_site, shifts
        As of :class:`fedmed_workflows.sites.federation_sites.FederationSites`.
    class_names
        All classes; None for those found, in alphabetical order. Then a class of one site only is refused, as a
        folder that was misnamed would otherwise become a class; name it here, or in the ``class_names`` of another
        site's datalist, to keep it.

    Attributes
    ----------
    class_names
        The classes, in the order of the logits.
    images
        Every site's images.
    digest
        Of every site's image names, contents and classes: what a run's data were.
    settings
        Entries of the training configuration that the sites decide.
    key_metric, chance
        The metric to judge a run by, and what guessing would give.

    Raises
    ------
    ValueError
        A site does not exist or has no images, no training site is left, or a class is known to one site only; the
        message names the site, what was found and what was expected.
    """

    key_metric = "balanced_accuracy"

    def __init__(
        self,
        dataset_dir: str,
        sites: Sequence[str] | None = None,
        unseen_site: str | None = None,
        class_names: Sequence[str] | None = None,
        shifts: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(dataset_dir, sites, unseen_site, shifts)
        if self.elsewhere and not given_classes(class_names):
            raise ValueError("class_names: the images are at the sites, expected the names of all classes")
        items = {} if self.elsewhere else {site: read_site(path) for site, path in self.paths.items()}
        by_site = {site: {name for part in parts.values() for _, name in part} for site, parts in items.items()}
        self.class_names = given_classes(class_names) or sorted(set().union(*by_site.values()))
        _check_classes(self.paths, by_site, self.class_names if class_names else None)
        self.images = {site: [image for part in parts.values() for image, _ in part] for site, parts in items.items()}
        self.digest = data_digest(self.paths, _with_paths(items))
        self.settings = {"class_names": list(self.class_names)}
        self.chance = 1 / len(self.class_names)

    def labelled_images(self, site: str) -> dict[str, list[tuple[str, str]]]:
        """Lists the images of a site with their classes, by the section of its datalist."""
        return read_site(self.paths[site])

    def case_reader(self, settings: Mapping[str, Any]) -> CaseReader:
        """Reads an image; the settings are ``series_rules``."""
        return classification_reader(settings)


def _with_paths(items: Mapping[str, Mapping[str, list[tuple[str, str]]]]) -> dict[str, dict[str, list[Any]]]:
    return {
        site: {section: [(Path(image), name) for image, name in entries] for section, entries in parts.items()}
        for site, parts in items.items()
    }


def _check_classes(paths: Mapping[str, Path], by_site: Mapping[str, set[str]], given: list[str] | None) -> None:
    known_to = Counter(name for site, names in by_site.items() for name in names | {*declared_classes(paths[site])})
    for site, names in by_site.items():
        expected = set(given) if given else {name for name, count in known_to.items() if count > 1}
        strange = sorted(names - expected)
        if strange and (given or len(by_site) > 1):
            raise ValueError(
                f"site {site!r}: {paths[site]} has the classes {strange}, unknown to the other sites; "
                f"expected some of {sorted(expected)}"
            )


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
