"""The sites of a classification: images with classes, from class folders or a datalist, and their split."""

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
        A folder ``CLASS/*`` of jpg, png, DICOM or NIfTI files (or of folders with one DICOM series each), a folder with
        a ``datalist.json``, or the file of a datalist. A datalist has items ``{"image": path, "label": class}`` under
        ``training``, and optionally under ``validation`` and ``test``. Paths are relative to the datalist; a class is
        a name or an index into its ``class_names``. An item may name its ``"patient"``. None if another program
        provides the labelled images, as MONAI Label does: training then continues from `checkpoint`, with its classes.
    class_names
        All classes, in the order of the logits; None for the classes found here, in alphabetical order.
    batch_size
        Minimum number of training images.
    seed
        Seed of the 80/10/10 split, patient by patient.
    held_out
        Whether the site is the unseen site: every image is for testing, none for training.
    patient_pattern
        Regular expression with one group that finds the patient in a file name, for files that do not name the patient.
    checkpoint
        The trained network of the bundle.

    Attributes
    ----------
    training, validation, test
        ``{"image": path, "label": int}`` for each image.
    checkpoint
        The network from which training continues; None if training starts from the beginning, as with a site's folder.

    Raises
    ------
    ValueError
        There is neither a folder nor a checkpoint, there are no images, a class is not among `class_names`, there are
        fewer training images than one batch, no image is left for validation or test, or a patient is in two sections
        of a datalist. The message names the folder or the file of the site.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_workflows import ClassificationSite
    >>> with TemporaryDirectory() as folder:
    ...     for file in [Path(folder, label, f"{i}.png") for label in ("benign", "malignant") for i in range(10)]:
    ...         file.parent.mkdir(exist_ok=True)
    ...         file.touch()
    ...     site = ClassificationSite(folder)
    >>> site.class_names, len(site.training), len(site.validation), len(site.test)
    (['benign', 'malignant'], 16, 2, 2)
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
                raise ValueError(f"{self.path}: found no {part} image after the split, expected three of one class")


def _trained_classes(checkpoint: str | None) -> list[str]:
    if checkpoint is None or not Path(checkpoint).is_file():
        raise ValueError(f"dataset_dir: expected the folder of a site, found none, and no checkpoint {checkpoint}")
    return checkpoint_class_names(checkpoint)


class ClassificationSites(FederationSites):
    """The sites of a federation that trains a classifier.

    Parameters
    ----------
    dataset_dir
        Folder with ``SITE/CLASS/*``, ``SITE/datalist.json`` or ``SITE.json`` for each site. ``none`` if the images are
        at the sites and not here; `sites` and `class_names` are then required.
    sites, unseen_site, shifts
        As for :class:`fedmed_workflows.sites.federation_sites.FederationSites`.
    class_names
        All classes; None for the classes found, in alphabetical order. With None, a class that only one site has is
        refused, because a misspelt folder would otherwise become a class. To keep such a class, name it here or in
        the ``class_names`` of another site's datalist.

    Attributes
    ----------
    class_names
        The classes, in the order of the logits.
    images
        Paths of the images, by site.
    digest
        Digest of the names, contents and classes of all images, which identifies the data of a run.
    settings
        Entries of the training configuration that the sites determine.
    key_metric, chance
        The main metric of a run, and its value for a random guess.

    Raises
    ------
    ValueError
        A site does not exist or has no images, no training site is left, or only one site has a class. The message
        names the site, what was found and what was expected.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_workflows import ClassificationSites
    >>> with TemporaryDirectory() as folder:
    ...     for site in ("hospital_a", "hospital_b", "hospital_c"):
    ...         Path(folder, site, "benign").mkdir(parents=True)
    ...         Path(folder, site, "benign", "1.png").touch()
    ...     sites = ClassificationSites(folder, unseen_site="hospital_c")
    >>> list(sites.folders), sites.class_names
    (['hospital_a', 'hospital_b'], ['benign'])
    """

    key_metric = "balanced_accuracy"

    def __init__(
        self,
        dataset_dir: str | None,
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
    """Returns the classes that a configuration names, or an empty list.

    Raises
    ------
    ValueError
        `class_names` is one text instead of a list of names.
    """
    if isinstance(class_names, str):
        raise ValueError(f"class_names: expected a list of names, found the text {class_names!r}")
    return [str(name) for name in class_names or ()]
