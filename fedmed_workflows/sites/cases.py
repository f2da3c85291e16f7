"""The images of a site as its statistics count them: whose they are, and which classes they show."""

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
"""Names of counts. A class's is the class's own name behind :data:`CLASS`."""

CLASS = "class "

Counts: TypeAlias = dict[str, int]
"""By name, what an image counts for."""


@dataclass(frozen=True)
class Case:
    """An image of a site.

    Attributes
    ----------
    image
        Its path.
    label
        Its class, or its label's path.
    patient
        What tells the patients of a site apart; the image itself where nothing says whose it is.
    """

    image: str
    label: str
    patient: str


Read: TypeAlias = Callable[[Case], tuple[MetaTensor, Counts]]
"""From a case to the image with its true values and affine, and what it counts for."""


def cases_of(sites: FederationSites, settings: Mapping[str, Any], site: str) -> list[Case]:
    """Every image of a site, of every section of its datalist.

    Parameters
    ----------
    sites
        With the site's folder or datalist.
    settings
        The bundle's, with ``patient_pattern``.
    site
        Its name.

    Raises
    ------
    ValueError
        The site has no image, or not in the layout of its task; the message names the folder or the file.
    """
    path = sites.paths[site]
    sections = read_pairs(path) if isinstance(sites, SegmentationSites) else read_site(path)
    items = [item for section in sections.values() for item in section]
    patients = patients_of(path, (image for image, _ in items), settings.get("patient_pattern"))
    return [Case(image, label, patients[image]) for image, label in items]


def reader_of(sites: FederationSites, settings: Mapping[str, Any]) -> Read:
    """How a bundle's images are read: by its series rules, labels by its channels.

    Parameters
    ----------
    sites
        Of a classification or a segmentation.
    settings
        The bundle's: ``series_rules``, and of a segmentation ``channels`` and ``ignored``.
    """
    rules = dict(settings.get("series_rules") or {})
    return _segmentation(settings, rules) if isinstance(sites, SegmentationSites) else _classification(rules)


def _classification(rules: Mapping[str, Any]) -> Read:
    def read(case: Case) -> tuple[MetaTensor, Counts]:
        return load_image(Path(case.image), **rules), {IMAGES: 1, f"{CLASS}{case.label}": 1}

    return read


def _segmentation(settings: Mapping[str, Any], rules: Mapping[str, Any]) -> Read:
    """A class counts the slices that it is labelled on."""
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
