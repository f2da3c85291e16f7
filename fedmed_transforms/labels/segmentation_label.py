"""Converts DICOM segmentations to labels of the images on which they were drawn."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from pydicom.uid import SegmentationStorage

from fedmed_transforms.dicom.geometry.mask_grid import mask_on_planes, planes_of_volume, slices_held
from fedmed_transforms.image_metadata import dicom_of, file_of, plain_tensor
from fedmed_transforms.labels.labels import ChannelsToLabels


class SegmentationToLabelsd(MapTransform):
    """Converts a DICOM segmentation to a label map on the grid of its image; other labels stay as they are.

    A segmentation holds the slices from the first to the last one with a drawn segment. The label map has the slices of
    the image, with k in the k-th segment (a later segment covers an earlier one) and 0 elsewhere.

    Parameters
    ----------
    keys
        Labels as :class:`fedmed_transforms.LoadMedicalImaged` loads them: a segmentation (n, X, Y, Z), one channel for
        each segment, becomes (1, X, Y, Z) or (1, X, Y) like the image, float32.
    image_key
        The image, (C, X, Y, Z) or (C, X, Y).

    Raises
    ------
    ValueError
        The slices or the frame of reference of the segmentation differ from the image's; the message names both files.

    Examples
    --------
    >>> from fedmed_transforms import SegmentationToLabelsd
    >>> segments = MetaTensor(torch.ones(2, 8, 8, 3), meta={"dicom": {"SOPClassUID": SegmentationStorage}})
    >>> data = {"image": MetaTensor(torch.zeros(1, 8, 8, 5)), "label": segments}
    >>> SegmentationToLabelsd("label", image_key="image")(data)["label"].shape
    torch.Size([1, 8, 8, 5])
    """

    def __init__(self, keys: KeysCollection, image_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.to_labels = ChannelsToLabels()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts the segmentation of every key to a label map."""
        image = data[self.image_key]
        labels = {key: data[key] for key in self.key_iterator(data)}
        return {**data, **{key: self._labels(label, image) for key, label in labels.items() if _is_segments(label)}}

    def _labels(self, segments: MetaTensor, image: torch.Tensor) -> MetaTensor:
        _check_same_frame(segments, image)
        masks = _masks_of_volume(segments, image) if image.ndim == 4 else _masks_of_picture(segments, image)
        labels = self.to_labels(masks).float()
        found = MetaTensor(labels if labels.ndim == image.ndim else labels[None], meta=dict(segments.meta))
        found.affine = image.affine if isinstance(image, MetaTensor) else segments.affine
        return found


def _check_same_frame(segments: torch.Tensor, image: torch.Tensor) -> None:
    """Refuses a segmentation of another patient or visit, even if its coordinates agree with the image."""
    frames = {dicom_of(part).get("FrameOfReferenceUID") or "" for part in (segments, image)} - {""}
    if len(frames) > 1:
        files = f"{file_of(segments)} and {file_of(image)}"
        raise ValueError(f"{files}: found two frames of reference, expected a segmentation of this image")


def _is_segments(label: torch.Tensor) -> bool:
    return dicom_of(label).get("SOPClassUID") == SegmentationStorage


def _masks_of_volume(segments: MetaTensor, image: torch.Tensor) -> torch.Tensor:
    """Places (n, X, Y, Z) of the slices with segments -> (n, X, Y, Z) of all slices of the image."""
    affine, shape = np.asarray(segments.affine.cpu()), segments.shape[1:]
    own = np.asarray(image.affine.cpu()) if isinstance(image, MetaTensor) else affine
    planes = planes_of_volume(own, image.shape[1:])
    try:
        held = slices_held(affine, shape, planes)
        values = np.asarray(plain_tensor(segments).cpu())
        frames = mask_on_planes(values, affine, [planes[index] for index in held] or planes)
    except ValueError as error:
        raise ValueError(f"{file_of(segments)} and {file_of(image)}: {error}") from error
    masks = torch.zeros(len(segments), *image.shape[1:], device=segments.device)
    masks[..., held] = torch.from_numpy(frames.transpose(0, 3, 2, 1).copy()).to(masks)  # (n, Z, Y, X) -> (n, X, Y, Z)
    return masks


def _masks_of_picture(segments: MetaTensor, image: torch.Tensor) -> torch.Tensor:
    """Converts (n, X, Y, 1) of an image without a position -> (n, X, Y)."""
    if segments.shape[1:] != (*image.shape[1:], 1):
        found = f"{tuple(segments.shape[1:])} and {tuple(image.shape[1:])}"
        raise ValueError(f"{file_of(segments)} and {file_of(image)}: found the shapes {found}, expected one picture's")
    return plain_tensor(segments)[..., 0]
