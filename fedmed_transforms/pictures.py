"""Images as a reader looks at them: upright pictures, rows downwards and columns to the right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import MapTransform, Orientation, Transform

RADIOLOGICAL = "LPI"
"""Axis codes after which every plane's axes point left, posterior and inferior, as on a radiologist's screen."""

SAME_SPACING = 1.01
"""Spacings of a volume whose ratio is below this count as equal."""


class ToPictures(Transform):
    """Takes an image or a volume to a stack of upright pictures.

    A 2-D image (C, X, Y) becomes one picture. A volume (C, X, Y, Z) is cut across its widest spacing, the direction it
    was acquired in (isotropic volumes: axially), after it was turned to radiological convention by its affine.
    """

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(C, X, Y) or (C, X, Y, Z) -> (N, C, H, W) with C of 1 or 3.

        Raises
        ------
        ValueError
            The image has another number of dimensions or channels; the message names its file.
        """
        meta = image.meta if isinstance(image, MetaTensor) else {}
        if image.ndim not in (3, 4) or image.shape[0] not in (1, 3):
            file = meta.get("filename_or_obj", "image")
            raise ValueError(f"{file}: expected shape (1 or 3, X, Y) or (1 or 3, X, Y, Z), found {tuple(image.shape)}")
        if image.ndim == 3:
            return _like(image, _values(image).permute(0, 2, 1)[None])
        cut = _acquisition_axis(image)
        volume = _values(Orientation(axcodes=RADIOLOGICAL, labels=None)(image) if meta else image)
        rows, columns = {2: (2, 1), 1: (3, 1), 0: (3, 2)}[cut]
        return _like(image, volume.permute(cut + 1, 0, rows, columns))


class ToPicturesd(MapTransform):
    """Dictionary form of :class:`ToPictures`."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_pictures = ToPictures()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes every key's image to pictures."""
        return {**data, **{key: self.to_pictures(data[key]) for key in self.key_iterator(data)}}


def _acquisition_axis(image: torch.Tensor) -> int:
    """Which axis of the turned volume to cut across: 0 sagittal, 1 coronal, 2 axial."""
    if not isinstance(image, MetaTensor):
        return 2
    patient_axis = nib.io_orientation(np.asarray(image.affine))[:, 0]  # as the turn assigns them, even if oblique
    if list(image.shape[1:]).count(1) == 1:  # one slice, whatever its thickness
        return int(patient_axis[list(image.shape[1:]).index(1)])
    spacing = np.asarray(affine_to_spacing(image.affine), dtype=float)
    widest = int(spacing.argmax())
    if spacing[widest] < SAME_SPACING * spacing.min() or np.sum(spacing > spacing[widest] / SAME_SPACING) > 1:
        return 2
    return int(patient_axis[widest])


def _values(image: torch.Tensor) -> torch.Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def _like(image: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """The pictures with the metadata of the image they came from, for messages and scaling."""
    if not isinstance(image, MetaTensor):
        return pictures
    return MetaTensor(pictures.contiguous(), meta=dict(image.meta))
