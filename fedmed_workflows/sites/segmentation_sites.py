"""Sites of a segmentation: images with label files of the same stem, or a datalist, and their split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmed_transforms.labels.labels import LabelsToChannels, Values
from fedmed_transforms.loading.find import list_images, stem_of
from fedmed_workflows.sites.cases import CaseReader, segmentation_reader
from fedmed_workflows.sites.datalist import DATALIST, datalist_of, existing, read_datalist
from fedmed_workflows.sites.federation_sites import FederationSites, data_digest
from fedmed_workflows.sites.split import split_site

FRACTIONS = (0.9, 0.1, 0.0)
"""Training, validation, test: the split of the FedFMS paper, volume by volume. A federation trains for a given number
of rounds and chooses nothing by the validation images, so they are what a training site is scored on, too."""

FORM = "{'training': [{'image': path, 'label': path}]}"

Pairs = dict[str, list[tuple[str, str]]]
"""(image, label file) by section."""


class SegmentationSite:
    """The labelled images of one site, and their split.

    Parameters
    ----------
    dataset_dir
        A folder with ``images/*`` and ``labels/*`` of the same stem (jpg, png, NIfTI or DICOM files, folders with one
        DICOM series each), a folder with a ``datalist.json``, or a datalist's file. A datalist holds items
        ``{"image": path, "label": path}`` under ``training``, and optionally ``validation`` and ``test``; paths are
        relative to it. An item may name its ``"patient"``.
    seed
        Seed of the 90/10 split, patient by patient: a volume's slices, and a patient's volumes, stay together.
    held_out
        An unseen site: every image is for testing, none for training.
    patient_pattern
        Regular expression with one group that finds the patient in a file's name, for images whose files do not say.

    Attributes
    ----------
    training, validation, test
        ``{"image": path, "label": path}`` an image; `test` is `validation` where a datalist has no section for it.

    Raises
    ------
    ValueError
        No images, an image without label or a label without image, no image left for training or validation, or a
        patient in two sections of a datalist; the message names the site's folder or file.
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
    """The sites of a federation that segments.

    Parameters
    ----------
    dataset_dir
        Holds ``SITE/images/*`` with ``SITE/labels/*``, ``SITE/datalist.json`` or ``SITE.json``, one a site.
    sites, unseen_site, shifts
        As of :class:`fedmed_workflows.sites.federation_sites.FederationSites`.
    channels
        What is segmented, as of :class:`fedmed_transforms.LabelsToChannels`.

    Attributes
    ----------
    class_names
        The channels' names, in the order of the logits.
    images
        Every site's images and label files.
    digest
        Of every site's file names and contents: what a run's data were.
    settings
        Entries of the training configuration that the sites decide: none.
    key_metric, chance
        The metric to judge a run by; guessing has no score of its own.

    Raises
    ------
    ValueError
        A site does not exist or has no images, an image has no label, or no training site is left; the message names
        the site's folder, what was found and what was expected.
    """

    key_metric = "dice"
    chance = None

    def __init__(
        self,
        dataset_dir: str,
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
    """The images of a site with their label files, by section.

    Parameters
    ----------
    path
        A folder with ``images`` and ``labels``, a folder with a ``datalist.json``, or a datalist's file.

    Raises
    ------
    ValueError
        There is no image, an image has no label or several, a label has no image, or the datalist is no datalist; the
        message names the site's folder or file.
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
