"""Converts images to upright pictures as radiologists read them: rows downwards and columns to the right."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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
"""Axis codes of the radiological convention: the axes of every plane point left, posterior and inferior."""

LPS_LABELS = (("R", "L"), ("A", "P"), ("I", "S"))
"""Axis codes of an affine whose axes point to the left and posterior; MONAI's metadata calls it LPS."""

SAME_SPACING = 1.01
"""Two spacings of a volume count as equal if their ratio is below this value."""


class ToPictures(Transform):
    """Converts an image or a volume to a stack of upright pictures.

    A 2-D image (C, X, Y) becomes one picture. A volume (C, X, Y, Z) is reoriented to the radiological convention by its
    affine, and then cut across its widest spacing, the direction of acquisition (isotropic volumes: axially).

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ToPictures
    >>> ToPictures()(torch.zeros(1, 40, 30, 5)).shape
    torch.Size([5, 1, 30, 40])
    """

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Converts (C, X, Y) or (C, X, Y, Z) -> (N, C, H, W) with C of 1 or 3.

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
    """Converts the images of a dictionary as :class:`ToPictures` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ToPicturesd
    >>> ToPicturesd("image")({"image": torch.zeros(3, 40, 30)})["image"].shape
    torch.Size([1, 3, 30, 40])
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_pictures = ToPictures()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts the image of every key to pictures."""
        return {**data, **{key: self.to_pictures(data[key]) for key in self.key_iterator(data)}}


@dataclass(frozen=True)
class Cut:
    """Holds the flips and the permutation that convert a volume to upright pictures; their inverse is exact.

    Attributes
    ----------
    flipped
        Axes of the volume, 0 to 2, that are reversed in the pictures.
    order
        Axes of the volume along which the slices, the rows and the columns run.
    """

    flipped: tuple[int, ...]
    order: tuple[int, int, int]

    def pictures(self, volume: torch.Tensor, kept: Sequence[int] | None = None) -> torch.Tensor:
        """Cuts a volume (C, X, Y, Z) -> (N, C, H, W); `kept` lists the positions of the slices to cut, None for all."""
        slices, rows, columns = (axis + 1 for axis in self.order)
        axes = [axis + 1 for axis in self.flipped]
        if kept is not None:
            last = volume.shape[slices] - 1
            places = [last - place if slices in axes else place for place in kept]
            volume = volume.index_select(slices, torch.tensor(places, dtype=torch.long, device=volume.device))
            axes = [axis for axis in axes if axis != slices]
        flipped = volume.flip(axes) if axes else volume  # a flip copies
        return flipped.permute(slices, 0, rows, columns).contiguous()  # (C, X, Y, Z) -> (N, C, H, W)

    def volume(self, pictures: torch.Tensor) -> torch.Tensor:
        """Puts pictures (N, C, H, W) -> (C, X, Y, Z): the inverse of :meth:`pictures`."""
        axes = [(0, 2, 3)[self.order.index(axis)] for axis in range(3)]
        volume = pictures.permute(1, *axes)  # (N, C, H, W) -> (C, X, Y, Z)
        return (volume.flip([axis + 1 for axis in self.flipped]) if self.flipped else volume).contiguous()


def slices_of(image: torch.Tensor) -> torch.Tensor:
    """Returns the values of a volume (C, X, Y, Z), or of a picture (C, X, Y) as a volume of one slice (C, X, Y, 1)."""
    return plain_tensor(image) if image.ndim == 4 else plain_tensor(image)[..., None]


def cut_of(image: torch.Tensor) -> Cut:
    """Returns the cut of a volume (C, X, Y, Z) across its widest spacing, as in :class:`ToPictures`.

    A tensor without metadata, and a picture (C, X, Y), which has no position in a patient, are cut along the last axis;
    their rows run along Y.
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
    """Returns the axis of the reoriented volume to cut across: 0 sagittal, 1 coronal, 2 axial."""
    if not isinstance(image, MetaTensor):
        return 2
    patient_axis = nib.io_orientation(np.asarray(image.affine))[:, 0]  # the axes of the turn, also of oblique volumes
    if list(image.shape[1:]).count(1) == 1:  # a single slice is cut across itself, for every thickness
        return int(patient_axis[list(image.shape[1:]).index(1)])
    spacing = np.asarray(affine_to_spacing(image.affine), dtype=float)
    widest = int(spacing.argmax())
    if spacing[widest] < SAME_SPACING * spacing.min() or np.sum(spacing > spacing[widest] / SAME_SPACING) > 1:
        return 2
    return int(patient_axis[widest])
