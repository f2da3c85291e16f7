"""Images as a reader looks at them: upright pictures, rows downwards and columns to the right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import MapTransform, Transform
from monai.utils import SpaceKeys

from fedmed_transforms.image_metadata import file_of, plain_tensor, with_metadata_of

RADIOLOGICAL = "LPI"
"""Axis codes after which every plane's axes point left, posterior and inferior, as on a radiologist's screen."""

LPS_LABELS = (("R", "L"), ("A", "P"), ("I", "S"))
"""Axis codes of an affine whose axes run to the left and posterior, which MONAI's metadata calls LPS."""

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
        if image.ndim not in (3, 4) or image.shape[0] not in (1, 3):
            expected = "shape (1 or 3, X, Y) or (1 or 3, X, Y, Z)"
            raise ValueError(f"{file_of(image)}: expected {expected}, found {tuple(image.shape)}")
        return with_metadata_of(image, cut_of(image).pictures(slices_of(image)))


class ToPicturesd(MapTransform):
    """Dictionary form of :class:`ToPictures`."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_pictures = ToPictures()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes every key's image to pictures."""
        return {**data, **{key: self.to_pictures(data[key]) for key in self.key_iterator(data)}}


@dataclass(frozen=True)
class Cut:
    """How a volume is taken to upright pictures: by flips and a permutation, so that the way back is exact.

    Attributes
    ----------
    flipped
        Axes of the volume, 0 to 2, that run backwards in the pictures.
    order
        Which axis of the volume the slices, the rows and the columns run along.
    """

    flipped: tuple[int, ...]
    order: tuple[int, int, int]

    def pictures(self, volume: torch.Tensor) -> torch.Tensor:
        """(C, X, Y, Z) -> (N, C, H, W)."""
        slices, rows, columns = (axis + 1 for axis in self.order)
        turned = volume.flip([axis + 1 for axis in self.flipped])
        return turned.permute(slices, 0, rows, columns).contiguous()

    def volume(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (C, X, Y, Z): what :meth:`pictures` took apart."""
        axes = [(0, 2, 3)[self.order.index(axis)] for axis in range(3)]
        return pictures.permute(1, *axes).flip([axis + 1 for axis in self.flipped]).contiguous()


def slices_of(image: torch.Tensor) -> torch.Tensor:
    """The values of a volume (C, X, Y, Z), or of a picture (C, X, Y) as a volume of one slice (C, X, Y, 1)."""
    return plain_tensor(image) if image.ndim == 4 else plain_tensor(image)[..., None]


def cut_of(image: torch.Tensor) -> Cut:
    """The cut of a volume (C, X, Y, Z) across its widest spacing, as in :class:`ToPictures`.

    A tensor without metadata is cut along its last axis, and its rows run along Y; so is a picture (C, X, Y), which
    has no place in a patient.
    """
    if not isinstance(image, MetaTensor) or image.ndim == 3:
        return Cut((), (2, 1, 0))
    lps = str(image.meta.get("space", SpaceKeys.RAS)) == SpaceKeys.LPS
    target = nib.orientations.axcodes2ornt(RADIOLOGICAL, LPS_LABELS if lps else None)
    turn = nib.orientations.ornt_transform(nib.io_orientation(np.asarray(image.affine)), target)
    source = [int(axis) for axis in turn[:, 0].argsort()]  # of each axis after the turn
    order = {2: (2, 1, 0), 1: (1, 2, 0), 0: (0, 2, 1)}[_acquisition_axis(image)]
    flipped = tuple(axis for axis in range(3) if turn[axis, 1] < 0)
    return Cut(flipped, (source[order[0]], source[order[1]], source[order[2]]))


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
