"""Converts DICOM segmentations and structure sets to labels of the images on which they were drawn."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.geometry.mask_grid import mask_on_planes, planes_of_volume, slices_held
from fedmed_transforms.dicom.segmentation import SEGMENTATIONS
from fedmed_transforms.dicom.structures.contour_voxels import slices_inside
from fedmed_transforms.dicom.structures.structure_set import Structure
from fedmed_transforms.image_metadata import SEGMENTS, STRUCTURES, dicom_of, file_of, plain_tensor
from fedmed_transforms.labels.channel_rules import Values, channel_rules
from fedmed_transforms.labels.label_map import GRID, Part, Region, grid_of, label_map

ELSEWHERE = "contours in another frame of reference than the image"

UNDRAWN = "contours that were not drawn, as no channel of SegmentationToLabelsd names the structure"


class SegmentationToLabelsd(MapTransform):
    """Converts a DICOM segmentation or structure set to a label map on the grid of its image.

    Other labels stay as they are. A segmentation holds the slices from the first to the last one with a drawn segment;
    a structure set (RTSTRUCT) holds contours. The label map has the slices of the image, with a segment's SegmentNumber
    or a structure's place in its file (from 1) in its voxels, and 0 elsewhere. A later segment covers an earlier one;
    the metadata keep the covered voxels and the names, so that :class:`fedmed_transforms.LabelsToChannelsd` gives whole
    segments and finds them by name. A voxel belongs to a structure if its centre lies inside the contours.

    Parameters
    ----------
    keys
        Labels as :class:`fedmed_transforms.LoadMedicalImaged` loads them: a segmentation (n, X, Y, Z), one channel for
        each segment, or a structure set becomes (1, X, Y, Z) or (1, X, Y) like the image, float32.
    image_key
        The image, (C, X, Y, Z) or (C, X, Y).
    channels
        The channels that :class:`fedmed_transforms.LabelsToChannelsd` makes of the label, or None. Of a structure set,
        which may have dozens of structures, only those that a channel names are drawn; None draws all.

    Raises
    ------
    ValueError
        The slices or the frame of reference of the segmentation differ from the image's, or it has fractions; a
        structure set lies in another frame of reference, or its image is no volume. The message names both files. A
        single structure that does not fit the image is refused where a channel asks for it.

    Examples
    --------
    >>> from fedmed_transforms import SegmentationToLabelsd
    >>> elements = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}
    >>> segments = MetaTensor(torch.ones(2, 8, 8, 3), meta={"dicom": elements})
    >>> data = {"image": MetaTensor(torch.zeros(1, 8, 8, 5)), "label": segments}
    >>> SegmentationToLabelsd("label", image_key="image")(data)["label"].shape
    torch.Size([1, 8, 8, 5])
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str,
        allow_missing_keys: bool = False,
        channels: Mapping[str, Values] | Sequence[Values] | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        rules = [] if channels is None else channel_rules(channels)
        everything = channels is None or any(rule.every for rule in rules)
        self.names = None if everything else {name for rule in rules for name in rule.names}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts the segmentation or the structure set of every key to a label map."""
        image = data[self.image_key]
        return {**data, **{key: _converted(data[key], image, self.names) for key in self.key_iterator(data)}}


def _converted(label: torch.Tensor, image: torch.Tensor, names: set[str] | None) -> torch.Tensor:
    parts: Sequence[Iterable[Part]]
    if isinstance(label, MetaTensor) and STRUCTURES in label.meta:
        regions, parts = _structures(label, image, names)
    elif dicom_of(label).get("SOPClassUID") in SEGMENTATIONS:
        regions, parts = _segments(label, image)
    else:
        return label
    labels, entries = label_map((*image.shape[1:], 1)[:3], regions, parts)
    kept = {key: value for key, value in label.meta.items() if key not in (STRUCTURES, SEGMENTS)}
    values = labels[None] if image.ndim == 4 else labels[None, ..., 0]
    found = MetaTensor(values.to(label.device), meta={**kept, **entries})
    found.affine = image.affine if isinstance(image, MetaTensor) else label.affine
    found.meta[GRID] = grid_of(found)
    return found


def _files(label: torch.Tensor, image: torch.Tensor) -> str:
    return f"{file_of(label)} and {file_of(image)}"


def _segments(segments: MetaTensor, image: torch.Tensor) -> tuple[list[Region], list[Iterator[Part]]]:
    """Finds the segments of a segmentation (n, X, Y, Z), and the slices of the image with each of them."""
    frames = {dicom_of(part).get("FrameOfReferenceUID") or "" for part in (segments, image)} - {""}
    if len(frames) > 1:  # another patient or visit, even if its coordinates agree with the image
        expected = "expected a segmentation of this image"
        raise ValueError(f"{_files(segments, image)}: found two frames of reference, {expected}")
    stated = segments.meta.get(SEGMENTS)
    named = json.loads(stated) if stated else [(number, "") for number in range(1, len(segments) + 1)]
    if any(number < 1 for number, _ in named):
        raise ValueError(f"{file_of(segments)}: found a segment of the number 0, expected it to be the background")
    held, frames_of = _on_volume(segments, image) if image.ndim == 4 else _on_picture(segments, image)
    return [Region(number, name) for number, name in named], [_parts(held, each, segments) for each in frames_of]


def _parts(held: list[int], frames: Any, segments: MetaTensor) -> Iterator[Part]:
    """Yields the slices of a segment (slices, rows, columns), which must have the values 0 and 1."""
    for place, frame in zip(held, frames, strict=True):
        inside = frame != 0
        if (frame[inside] != 1).any():
            expected = "expected segments of 0 and 1 (binary or a label map)"
            raise ValueError(f"{file_of(segments)}: found fractions, {expected}")
        yield 2, place, inside


def _on_volume(segments: MetaTensor, image: torch.Tensor) -> tuple[list[int], Any]:
    """Puts segments (n, X, Y, Z) on the slices of the image that they hold: indices, (n, slices, rows, columns)."""
    affine, shape = np.asarray(segments.affine.cpu()), segments.shape[1:]
    own = np.asarray(image.affine.cpu()) if isinstance(image, MetaTensor) else affine
    planes = planes_of_volume(own, image.shape[1:])
    try:
        held = slices_held(affine, shape, planes)
        values = np.asarray(plain_tensor(segments).cpu())
        return held, mask_on_planes(values, affine, [planes[index] for index in held] or planes)
    except ValueError as error:
        raise ValueError(f"{_files(segments, image)}: {error}") from error


def _on_picture(segments: MetaTensor, image: torch.Tensor) -> tuple[list[int], Any]:
    """Puts segments (n, X, Y, 1) on an image (C, X, Y) without a position, (n, 1, Y, X)."""
    if segments.shape[1:] != (*image.shape[1:], 1):
        found = f"{tuple(segments.shape[1:])} and {tuple(image.shape[1:])}"
        raise ValueError(f"{_files(segments, image)}: found the shapes {found}, expected one picture's")
    return [0], np.asarray(plain_tensor(segments).cpu()).transpose(0, 3, 2, 1)


def _structures(
    label: MetaTensor, image: torch.Tensor, names: set[str] | None
) -> tuple[list[Region], list[list[Part]]]:
    """Finds the structures of a set, and the slices of the image with each of them."""
    if image.ndim != 4 or not isinstance(image, MetaTensor):
        found = f"an image of shape {tuple(image.shape)}"
        raise ValueError(f"{_files(label, image)}: found {found}, expected the volume (C, X, Y, Z) of the structures")
    structures: Sequence[Structure] = label.meta[STRUCTURES]
    own = dicom_of(image).get("FrameOfReferenceUID") or ""
    elsewhere = [bool(own and structure.frame and structure.frame != own) for structure in structures]
    if all(elsewhere):
        raise ValueError(f"{_files(label, image)}: found two frames of reference, expected structures of this image")
    wanted = [names is None or structure.name in names for structure in structures]
    drawn = [
        _drawn(structure, UNDRAWN if not asked else ELSEWHERE if other else "", image, number)
        for number, (structure, other, asked) in enumerate(zip(structures, elsewhere, wanted, strict=True), start=1)
    ]
    asked_for = [region for (region, _), asked in zip(drawn, wanted, strict=True) if asked]
    if asked_for and all(region.refusal for region in asked_for):
        first = min(asked_for, key=lambda region: region.empty)
        raise ValueError(f"{_files(label, image)}: found no structure that fits the image: {first.refusal}")
    return [region for region, _ in drawn], [parts for _, parts in drawn]


def _drawn(structure: Structure, refusal: str, image: MetaTensor, number: int) -> tuple[Region, list[Part]]:
    """Draws a structure; a structure that is no label of this image is noted with the reason, and has no voxels."""
    try:
        if refusal:
            raise Damaged(refusal)
        parts = slices_inside(structure, np.asarray(image.affine.cpu()), image.shape[1:])
    except Damaged as error:
        return Region(number, structure.name, str(error), by_name=True, empty=not structure.encloses), []
    return Region(number, structure.name, by_name=True), parts
