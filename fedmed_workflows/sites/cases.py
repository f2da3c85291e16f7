"""The images of a site as its statistics count them: each image with its patient and its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from monai.data import MetaTensor
from monai.transforms import Compose

from fedmed_transforms import LabelsToChannelsd, LoadMedicalImaged, MatchedLabeld, load_image
from fedmed_transforms.labels.segmentation_label import SegmentationToLabelsd
from fedmed_workflows.sites.class_folders import read_site
from fedmed_workflows.sites.federation_sites import FederationSites
from fedmed_workflows.sites.segmentation_sites import SegmentationSites, read_pairs
from fedmed_workflows.sites.split import patients_of

IMAGES, SLICES = "images", "slices"
"""Names of counts. The count of a class has the name of the class after :data:`CLASS`."""

CLASS = "class "

Counts: TypeAlias = dict[str, int]
"""Counts of an image, by name."""


@dataclass(frozen=True)
class Case:
    """An image of a site.

    Attributes
    ----------
    image
        Path of the image.
    label
        Class of the image, or path of its label.
    patient
        Key of the patient within the site; the path of the image if the patient is unknown.
    """

    image: str
    label: str
    patient: str


Read: TypeAlias = Callable[[Case], tuple[MetaTensor, Counts]]
"""Reads a case: returns the image with its true values and affine, and the counts of the image."""


def cases_of(sites: FederationSites, settings: Mapping[str, Any], site: str) -> list[Case]:
    """Returns every image of a site, from all sections of its datalist.

    Parameters
    ----------
    sites
        The sites of the federation, with the folder or the datalist of this site.
    settings
        Settings of the bundle, with ``patient_pattern``.
    site
        Name of the site.

    Raises
    ------
    ValueError
        The site has no image, or its layout does not match the task. The message names the folder or the file.
    """
    path = sites.paths[site]
    sections = read_pairs(path) if isinstance(sites, SegmentationSites) else read_site(path)
    items = [item for section in sections.values() for item in section]
    patients = patients_of(path, (image for image, _ in items), settings.get("patient_pattern"))
    return [Case(image, label, patients[image]) for image, label in items]


def reader_of(sites: FederationSites, settings: Mapping[str, Any]) -> Read:
    """Returns the function that reads a case with the settings of the bundle.

    Parameters
    ----------
    sites
        The sites of a classification or of a segmentation.
    settings
        Settings of the bundle: ``series_rules``, and for a segmentation ``channels`` and ``ignored``.
    """
    rules = dict(settings.get("series_rules") or {})
    return _segmentation(settings, rules) if isinstance(sites, SegmentationSites) else _classification(rules)


def _classification(rules: Mapping[str, Any]) -> Read:
    def read(case: Case) -> tuple[MetaTensor, Counts]:
        return load_image(Path(case.image), **rules), {IMAGES: 1, f"{CLASS}{case.label}": 1}

    return read


def _segmentation(settings: Mapping[str, Any], rules: Mapping[str, Any]) -> Read:
    """Returns the reader of a segmentation, which counts for each class the slices with a label of the class."""
    keys = ["image", "label"]
    transform = Compose(
        [
            LoadMedicalImaged(keys, rules=rules),
            SegmentationToLabelsd("label", image_key="image"),
            LabelsToChannelsd("label", settings["channels"], settings.get("ignored") or ()),
            MatchedLabeld("label", image_key="image"),
        ]
    )
    names = transform.transforms[2].to_channels.names

    def read(case: Case) -> tuple[MetaTensor, Counts]:
        loaded = transform({"image": case.image, "label": case.label})
        label = loaded["label"].flatten(1, 2).any(dim=1).reshape(len(names), -1)  # (n, slices)
        labelled = {f"{CLASS}{name}": int(slices.sum()) for name, slices in zip(names, label, strict=True)}
        present = {name: count for name, count in labelled.items() if count}
        return loaded["image"], {IMAGES: 1, SLICES: label.shape[1], **present}

    return read
