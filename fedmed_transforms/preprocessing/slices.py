"""Volumes and pictures to the slices that a network of pictures eats, and what it makes of each slice back again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from fedmed_transforms.image_metadata import file_of, plain_tensor
from fedmed_transforms.preprocessing.pictures import Cut, cut_of, slices_of
from fedmed_transforms.preprocessing.slice_checks import check_label, check_same_geometry, check_slices

SLICES = "slices"
"""Entry of the slices' metadata: the ``shape`` of the volume (X, Y, Z) or picture (X, Y), how it was cut, and the
places of those that were ``kept``."""


class VolumeToSlices(Transform):
    """Cuts a volume into slices, upright and across its widest spacing as :class:`ToPictures` does; a picture is one.

    FedFMS (arXiv 2403.05408, published code) shows its network three channels: a slice three times (prostate MRI, CT of
    the lung), or the slice before, the slice and the slice after (FeTS). Of the first and the last slice the missing
    neighbour is the slice itself; the published code leaves these two out.

    Parameters
    ----------
    neighbours
        Whether the three channels of a grey slice are its neighbours and itself. An image of several channels keeps
        them, and cannot have neighbours; neither can a picture or a volume of one slice.
    """

    def __init__(self, neighbours: bool = False) -> None:
        self.neighbours = neighbours

    def __call__(self, image: torch.Tensor, kept: Sequence[int] | None = None) -> MetaTensor:
        """(C, X, Y, Z) or (C, X, Y) -> (N, 3, H, W), or (N, C, H, W) of several channels.

        Parameters
        ----------
        image
            The volume, or the picture, which is one slice.
        kept
            Places of the slices to return, from 0; None for all.

        Raises
        ------
        ValueError
            The image is neither, or neighbours are asked for and it has several channels or only one slice; the
            message names its file.
        """
        check_slices(image, self.neighbours)
        cut = cut_of(image)
        pictures = cut.pictures(slices_of(image))
        places = range(len(pictures)) if kept is None else kept
        around = torch.tensor([[place - 1, place, place + 1] for place in places], device=pictures.device)
        if self.neighbours:
            slices = pictures[around.clamp(0, len(pictures) - 1), 0]
        else:
            slices = pictures if kept is None else pictures[around[:, 1]]
            slices = slices.expand(-1, 3, -1, -1) if len(image) == 1 else slices
        return _recorded(slices, image, cut, places)


class VolumeToSlicesd(MapTransform):
    """Dictionary form of :class:`VolumeToSlices`, which cuts a label along and can leave out slices without one.

    Parameters
    ----------
    keys
        The images, volumes of the same geometry or pictures of the same size.
    label_key
        Their label (n, X, Y, Z) or (n, X, Y), or None; it is cut as the image is, without neighbours: (N, n, H, W). A
        label of one DICOM slice may be a picture of its rows and columns.
    neighbours
        As in :class:`VolumeToSlices`.
    empty_every
        None keeps all slices. A number m keeps, of those whose label is zero everywhere, one in m: those whose place
        in the volume, counted from 0 in the order of the slices, is a multiple of m. The published FedFMS keeps one in
        five of FeTS by the same rule, counted from the other end.

    Raises
    ------
    ValueError
        Images and label differ in shape or affine, or what is labelled is a volume of one slice in a format of volumes
        (a single slice of DICOM is an image of its own); the message names the files.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str | None = None,
        neighbours: bool = False,
        empty_every: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if empty_every is not None and (empty_every < 1 or label_key is None):
            raise ValueError(
                f"empty_every: expected a positive number and a label_key, found {empty_every}, {label_key}"
            )
        self.cut = VolumeToSlices(neighbours)
        self.label_key = label_key
        self.empty_every = empty_every

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Cuts every key's image, and the label."""
        keys = list(self.key_iterator(data))
        first, kept, label = data[keys[0]], None, {}
        if self.label_key is not None:
            slices = _cut_along(first, data[self.label_key])
            kept = self._kept(slices)
            label = {self.label_key: _recorded(slices[kept], data[self.label_key], cut_of(first), kept)}
        for key in keys[1:]:
            check_same_geometry(first, data[key])
        return {**data, **{key: self.cut(data[key], kept) for key in keys}, **label}

    def _kept(self, label: torch.Tensor) -> list[int]:
        filled = label.flatten(1).any(dim=1).tolist()
        every = self.empty_every or 1
        return [place for place, labelled in enumerate(filled) if labelled or place % every == 0]


class SlicesToVolume(Transform):
    """Puts what was made of the slices back: the inverse of :class:`VolumeToSlices`, exact to the bit."""

    def __call__(self, results: torch.Tensor, slices: torch.Tensor) -> MetaTensor:
        """(N, C, H, W) -> (C, X, Y, Z), or (C, X, Y) of a picture, with its affine and metadata; left-out slices are 0.

        Parameters
        ----------
        results
            One result for each slice, of the slice's height and width.
        slices
            What :class:`VolumeToSlices` returned, or was made of it and kept its metadata.

        Raises
        ------
        ValueError
            The slices do not remember what they were cut of, or the results do not fit them; the message names the
            file.
        """
        if not isinstance(slices, MetaTensor) or SLICES not in slices.meta:
            raise ValueError(f"{file_of(slices)}: found no {SLICES!r} in the metadata, expected slices of a volume")
        record = slices.meta[SLICES]
        cut, kept = Cut(tuple(record["flipped"]), tuple(record["order"])), record["kept"]
        total, rows, columns = ((*record["shape"], 1)[axis] for axis in cut.order)
        if results.ndim != 4 or (results.shape[0], *results.shape[2:]) != (len(kept), rows, columns):
            expected = f"({len(kept)}, C, {rows}, {columns}), one for each slice"
            raise ValueError(f"{file_of(slices)}: found results {tuple(results.shape)}, expected {expected}")
        every = plain_tensor(results)
        if len(kept) < total:
            empty = every.new_zeros((total, *every.shape[1:]))
            every = empty.index_copy(0, torch.tensor(kept, device=every.device), every)
        meta = {key: value for key, value in slices.meta.items() if key != SLICES}
        volume = cut.volume(every)
        return MetaTensor(volume if len(record["shape"]) == 3 else volume[..., 0], meta=meta)


class SlicesToVolumed(MapTransform):
    """Dictionary form of :class:`SlicesToVolume`; `source_key` holds the slices that the results were made of."""

    def __init__(self, keys: KeysCollection, source_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_volume = SlicesToVolume()
        self.source_key = source_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Puts every key's results back to a volume."""
        source = data[self.source_key]
        return {**data, **{key: self.to_volume(data[key], source) for key in self.key_iterator(data)}}


def _recorded(slices: torch.Tensor, image: torch.Tensor, cut: Cut, kept: Sequence[int]) -> MetaTensor:
    meta = dict(image.meta) if isinstance(image, MetaTensor) else {}
    record = {
        "kept": list(kept),
        "shape": list(image.shape[1:]),
        "flipped": list(cut.flipped),
        "order": list(cut.order),
    }
    return MetaTensor(slices, meta={**meta, SLICES: record})


def _cut_along(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    check_label(image, label)
    return cut_of(image).pictures(slices_of(label))
