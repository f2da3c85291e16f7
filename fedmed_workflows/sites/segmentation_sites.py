"""The sites of a segmentation: images with label files, from folders or a datalist, and their split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.labels.channel_rules import Values
from fedmed_transforms.labels.labels import LabelsToChannels
from fedmed_transforms.loading.find import list_images, stem_of
from fedmed_workflows.sites.cases import CaseReader, segmentation_reader
from fedmed_workflows.sites.datalist import DATALIST, datalist_of, existing, read_datalist
from fedmed_workflows.sites.federation_sites import FederationSites, data_digest
from fedmed_workflows.sites.split import split_site

FRACTIONS = (0.9, 0.1, 0.0)
"""Shares of training, validation and test images, as in the FedFMS paper, volume by volume. A federation trains a given
number of rounds and selects nothing on the validation images, so a training site is also tested on them."""

FORM = "{'training': [{'image': path, 'label': path}]}"

Pairs = dict[str, list[tuple[str, str]]]
"""Pairs (image, label file), by section."""


class SegmentationSite:
    """The labelled images of one site, and their split.

    Parameters
    ----------
    dataset_dir
        A folder with ``images/*`` and ``labels/*`` of the same stem (jpg, png, NIfTI or DICOM files, or folders with
        one DICOM series each), a folder with a ``datalist.json``, or the file of a datalist. A datalist has items
        ``{"image": path, "label": path}`` under ``training``, and optionally under ``validation`` and ``test``. Paths
        are relative to the datalist. An item may name its ``"patient"``.
    seed
        Seed of the 90/10 split, patient by patient: the slices of a volume and the volumes of a patient stay together.
    held_out
        Whether the site is the unseen site: every image is for testing, none for training.
    patient_pattern
        Regular expression with one group that finds the patient in a file name, for files that do not name the patient.

    Attributes
    ----------
    training, validation, test
        ``{"image": path, "label": path}`` for each image; `test` is `validation` if a datalist has no section ``test``.

    Raises
    ------
    ValueError
        There are no images, an image has no label or a label has no image, no image is left for training or validation,
        or a patient is in two sections of a datalist. The message names the folder or the file of the site.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_workflows import SegmentationSite
    >>> with TemporaryDirectory() as folder:
    ...     for file in [Path(folder, part, f"{i}.nii.gz") for part in ("images", "labels") for i in range(10)]:
    ...         file.parent.mkdir(exist_ok=True)
    ...         file.touch()
    ...     site = SegmentationSite(folder)
    >>> len(site.training), len(site.validation), site.test is site.validation
    (9, 1, True)
    """

    def __init__(
        self, dataset_dir: str, seed: int = 0, held_out: bool = False, patient_pattern: str | None = None
    ) -> None:
        self.path = Path(dataset_dir)
        sections = {
            section: [{"image": image, "label": label} for image, label in pairs]
            for section, pairs in read_pairs(self.path).items()
        }
        if held_out:
            every = [item for items in sections.values() for item in items]
            self.training, self.validation, self.test = list[dict[str, Any]](), every, every
            return
        strata = [0] * len(sections.get("training", []))
        split = split_site(self.path, sections, strata, seed, patient_pattern, FRACTIONS)
        self.training, self.validation, test = split
        self.test = test or self.validation
        for part, items in (("training", self.training), ("validation", self.validation)):
            if not items:
                raise ValueError(
                    f"{self.path}: found no {part} image after the split, expected images of 3 patients, "
                    f"or a {DATALIST} with sections of its own"
                )


class SegmentationSites(FederationSites):
    """The sites of a federation that trains a segmentation.

    Parameters
    ----------
    dataset_dir
        Folder with ``SITE/images/*`` and ``SITE/labels/*``, ``SITE/datalist.json`` or ``SITE.json`` for each site.
    sites, unseen_site, shifts
        As for :class:`fedmed_workflows.sites.federation_sites.FederationSites`.
    channels
        The segmented structures, as for :class:`fedmed_transforms.LabelsToChannels`.

    Attributes
    ----------
    class_names
        Names of the channels, in the order of the logits.
    images
        Paths of the images and label files, by site.
    digest
        Digest of the names and contents of all files, which identifies the data of a run.
    settings
        Entries of the training configuration that the sites determine: none.
    key_metric, chance
        The main metric of a run, and None, as a random guess has no fixed score.

    Raises
    ------
    ValueError
        A site does not exist or has no images, an image has no label, or no training site is left. The message names
        the folder of the site, what was found and what was expected.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fedmed_workflows import SegmentationSites
    >>> with TemporaryDirectory() as folder:
    ...     for file in [Path(folder, site, part, "1.png") for site in "ab" for part in ("images", "labels")]:
    ...         file.parent.mkdir(parents=True, exist_ok=True)
    ...         file.touch()
    ...     sites = SegmentationSites(folder, unseen_site="b", channels={"tumour": [1]})
    >>> list(sites.folders), sites.class_names
    (['a'], ['tumour'])
    """

    key_metric = "dice"
    chance = None

    def __init__(
        self,
        dataset_dir: str | None,
        sites: Sequence[str] | None = None,
        unseen_site: str | None = None,
        channels: Mapping[str, Values] | Sequence[Values] = ("nonzero",),
        shifts: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(dataset_dir, sites, unseen_site, shifts)
        pairs = {} if self.elsewhere else {site: read_pairs(path) for site, path in self.paths.items()}
        self.class_names = LabelsToChannels(channels).names
        self.images = {
            site: [file for entries in parts.values() for pair in entries for file in pair]
            for site, parts in pairs.items()
        }
        self.digest = data_digest(self.paths, _with_paths(pairs))
        self.settings = {}

    def labelled_images(self, site: str) -> Pairs:
        """Lists the images of a site with their label files, by the section of its datalist."""
        return read_pairs(self.paths[site])

    def case_reader(self, settings: Mapping[str, Any]) -> CaseReader:
        """Reads an image with its label file; the settings are ``series_rules``, ``channels`` and ``ignored``."""
        return segmentation_reader(settings)


def _with_paths(pairs: Mapping[str, Pairs]) -> dict[str, dict[str, list[tuple[Path, Path]]]]:
    return {
        site: {section: [(Path(image), Path(label)) for image, label in entries] for section, entries in parts.items()}
        for site, parts in pairs.items()
    }


def read_pairs(path: Path) -> Pairs:
    """Reads the images of a site with their label files, by section.

    Parameters
    ----------
    path
        A folder with ``images`` and ``labels``, a folder with a ``datalist.json``, or the file of a datalist.

    Raises
    ------
    ValueError
        There is no image, an image has no label or several labels, a label has no image, or the datalist is invalid.
        The message names the folder or the file of the site.
    """
    datalist = datalist_of(path)
    if datalist is not None:
        pairs = read_datalist(datalist, lambda item, _: existing(datalist, item["label"]), FORM)
    else:
        pairs = {"training": _read_folder(path)}
    if not any(pairs.values()):
        raise ValueError(f"{path}: found no image, expected images in {path / 'images'}, or a {DATALIST}")
    return pairs


def _read_folder(path: Path) -> list[tuple[str, str]]:
    for part in ("images", "labels"):
        if not (path / part).is_dir():
            found = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else "nothing"
            raise ValueError(f"{path}: found {found}, expected the folders 'images' and 'labels', or a {DATALIST}")
    images, labels = (_by_stem(path / part) for part in ("images", "labels"))
    lonely = [images[stem] for stem in sorted(set(images) - set(labels))]
    lonely += [labels[stem] for stem in sorted(set(labels) - set(images))]
    if lonely:
        raise ValueError(
            f"{lonely[0]}: found no file of the same stem in the other folder, expected an image and a label for each; "
            f"{len(lonely)} files of {path} have none"
        )
    return [(str(images[stem]), str(labels[stem])) for stem in images]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        other = found.setdefault(stem_of(path), path)
        if other != path:
            raise ValueError(f"{path}: found {other.name} of the same stem, expected one file for each stem")
    return found
