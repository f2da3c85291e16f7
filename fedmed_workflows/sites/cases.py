"""Cases: the images of a site, as the statistics read and count them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from monai.data import MetaTensor
from monai.transforms import Compose

from fedmed_transforms import LabelsToChannelsd, LoadMedicalImaged, MatchedLabeld, load_image
from fedmed_transforms.labels.segmentation_label import SegmentationToLabelsd

IMAGES, SLICES = "images", "slices"
"""Names of counts. A class's is the class's own name behind :data:`CLASS`."""

CLASS = "class "

Counts: TypeAlias = dict[str, int]
"""The counts of an image, by their names."""


@dataclass(frozen=True)
class Case:
    """An image of a site.

    Attributes
    ----------
    image
        Path of the image.
    label
        Class of the image, or path of its label file.
    patient
        Name that tells the patients of a site apart; the image itself where neither datalist nor file names a patient.
    """

    image: str
    label: str
    patient: str


CaseReader: TypeAlias = Callable[[Case], tuple[MetaTensor, Counts]]
"""From a case to the image with its true values and affine, and to its counts."""


def classification_reader(settings: Mapping[str, Any]) -> CaseReader:
    """Reads images by the bundle's series rules, and counts each for its class.

    Parameters
    ----------
    settings
        Entries of the bundle: ``series_rules``.
    """
    rules = _rules(settings)

    def read(case: Case) -> tuple[MetaTensor, Counts]:
        return load_image(Path(case.image), **rules), {IMAGES: 1, f"{CLASS}{case.label}": 1}

    return read


def segmentation_reader(settings: Mapping[str, Any]) -> CaseReader:
    """Reads images by the bundle's series rules, and counts for every class the slices on which it is labelled.

    Parameters
    ----------
    settings
        Entries of the bundle: ``series_rules``, ``channels`` and ``ignored``.
    """
    transform = Compose(
        [
            LoadMedicalImaged(["image", "label"], rules=_rules(settings)),
            SegmentationToLabelsd("label", image_key="image", channels=settings["channels"]),
            LabelsToChannelsd("label", settings["channels"], settings.get("ignored") or ()),
            MatchedLabeld("label", image_key="image"),
        ]
    )
    names = transform.transforms[2].to_channels.names

    def read(case: Case) -> tuple[MetaTensor, Counts]:
        loaded = transform({"image": case.image, "label": case.label})
        label = loaded["label"].flatten(1, 2).any(dim=1).reshape(len(names), -1)  # (N, slices)
        labelled = {f"{CLASS}{name}": int(slices.sum()) for name, slices in zip(names, label, strict=True)}
        present = {name: count for name, count in labelled.items() if count}
        return loaded["image"], {IMAGES: 1, SLICES: label.shape[1], **present}

    return read


def _rules(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(settings.get("series_rules") or {})
