"""Checks that a label lies on the grid of its image, before a network is trained or evaluated with it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation

from fedmed_transforms.image_metadata import file_of, plain_tensor, with_metadata_of
from fedmed_transforms.preprocessing.slice_checks import check_label

LOSSY_SUFFIXES = (".jpg", ".jpeg")

RAS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Axis codes of an affine whose axes point to the right, anterior and superior."""


class MatchedLabeld(MapTransform):
    """Refuses labels that do not lie on their image.

    The label of a volume may have its axes in another order or direction, as other programs write them: the label is
    reoriented to the axes of the image, exactly to the voxel. The label of a single DICOM slice may be a picture; the
    picture is placed on the slice.

    Parameters
    ----------
    keys
        The labels, (n, X, Y, Z) or (n, X, Y).
    image_key
        The image.

    Raises
    ------
    ValueError
        Shapes or positions differ, the image has neither 1 nor 3 channels, a volume has one slice, or the label is a
        jpg, whose lossy compression changes labels; the message names the files and what was found.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import MatchedLabeld
    >>> data = {"image": torch.zeros(3, 8, 6), "label": torch.ones(1, 8, 6)}
    >>> MatchedLabeld("label", image_key="image")(data)["label"].shape
    torch.Size([1, 8, 6])
    """

    def __init__(self, keys: KeysCollection, image_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Checks the label of every key and returns it in the shape of the image."""
        image, labels = data[self.image_key], {}
        for key in self.key_iterator(data):
            label = _reoriented(data[key], image)
            _check_values(image, label)
            check_label(image, label)
            if label.ndim < image.ndim:
                label = with_metadata_of(image, plain_tensor(label)[..., None])  # (n, X, Y) -> (n, X, Y, 1)
            labels[key] = label
        return {**data, **labels}


def _reoriented(label: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Returns the label of a volume with the axes of its image."""
    if not (isinstance(image, MetaTensor) and isinstance(label, MetaTensor) and image.ndim == label.ndim == 4):
        return label
    codes = ["".join(nib.aff2axcodes(np.asarray(volume.affine.cpu()))) for volume in (image, label)]
    if codes[0] == codes[1]:
        return label
    reoriented: torch.Tensor = Orientation(axcodes=codes[0], labels=RAS_LABELS)(label)
    return reoriented


def _check_values(image: torch.Tensor, label: torch.Tensor) -> None:
    if image.shape[0] not in (1, 3):
        raise ValueError(f"{file_of(image)}: found {image.shape[0]} channels, expected 1 or 3")
    if file_of(label).lower().endswith(LOSSY_SUFFIXES):
        raise ValueError(f"{file_of(label)}: found a label in a lossy format, expected png, NIfTI or DICOM")
