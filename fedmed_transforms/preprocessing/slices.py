"""Cuts volumes and pictures into slices for a network of pictures, and puts its results back to a volume."""

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
"""Entry of the slices' metadata: the ``shape`` of the volume (X, Y, Z) or picture (X, Y), the cut (``flipped``,
``order``), and the positions of the ``kept`` slices."""


class VolumeToSlices(Transform):
    """Cuts a volume into upright slices across its widest spacing, as :class:`ToPictures` does; a picture is one slice.

    FedFMS (arXiv 2403.05408, published code) gives its network three channels: a slice three times (prostate MRI, CT of
    the lung), or the slice before, the slice and the slice after (FeTS). The missing neighbour of the first and of the
    last slice is the slice itself; the published code leaves these two slices out.

    Parameters
    ----------
    neighbours
        Whether the three channels of a grey slice are the slice and its neighbours. An image of several channels keeps
        its channels; such an image, a picture and a volume of one slice cannot have neighbours.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import VolumeToSlices
    >>> VolumeToSlices(neighbours=True)(torch.zeros(1, 40, 30, 5)).shape
    torch.Size([5, 3, 30, 40])
    """

    def __init__(self, neighbours: bool = False) -> None:
        self.neighbours = neighbours

    def __call__(self, image: torch.Tensor, kept: Sequence[int] | None = None) -> MetaTensor:
        """Cuts (C, X, Y, Z) or (C, X, Y) -> (N, 3, H, W), or (N, C, H, W) for several channels.

        Parameters
        ----------
        image
            The volume, or the picture, which is one slice.
        kept
            Positions of the slices to return, from 0; None for all.

        Raises
        ------
        ValueError
            The image is neither a volume nor a picture, or it has several channels or only one slice and `neighbours`
            is set; the message names the file.
        """
        check_slices(image, self.neighbours)
        cut, values = cut_of(image), slices_of(image)
        count = values.shape[1 + cut.order[0]]
        places = range(count) if kept is None else kept
        if self.neighbours:
            around = [min(max(place + step, 0), count - 1) for place in places for step in (-1, 0, 1)]
            slices = cut.pictures(values, around)[:, 0].unflatten(0, (len(places), 3))  # (3 N, 1, H, W) -> (N, 3, H, W)
        else:
            slices = cut.pictures(values, kept)
            slices = slices.expand(-1, 3, -1, -1) if len(image) == 1 else slices  # (N, 3 or C, H, W)
        return _with_record(slices, image, cut, places)

    def uncut(self, image: torch.Tensor) -> MetaTensor:
        """Describes all slices of an image for :class:`SlicesToVolume` without cutting them: (0, 3 or C, H, W).

        Raises
        ------
        ValueError
            As of a call.
        """
        cut, nothing = cut_of(image), self(image, kept=())
        count = slices_of(image).shape[1 + cut.order[0]]
        return _with_record(nothing.as_tensor(), image, cut, range(count))


class VolumeToSlicesd(MapTransform):
    """Cuts the images of a dictionary as :class:`VolumeToSlices` does, and their label; can leave out empty slices.

    Parameters
    ----------
    keys
        The images: volumes of the same geometry, or pictures of the same size.
    label_key
        Their label (n, X, Y, Z) or (n, X, Y), or None; the label is cut like the image, without neighbours:
        (N, n, H, W). The label of one DICOM slice may be a picture of the same rows and columns.
    neighbours
        As in :class:`VolumeToSlices`.
    empty_every
        None keeps all slices. A number m keeps one in m of the slices whose label is zero everywhere: the slices whose
        position in the volume, counted from 0, is a multiple of m. The published FedFMS keeps one in five of FeTS by
        the same rule, counted from the other end.

    Raises
    ------
    ValueError
        Images and label differ in shape or affine, or the image is a labelled volume of one slice in a format of
        volumes (a single slice of DICOM is a complete image); the message names the files.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import VolumeToSlicesd
    >>> data = {"image": torch.zeros(1, 40, 30, 5), "label": torch.zeros(1, 40, 30, 5)}
    >>> VolumeToSlicesd("image", label_key="label", empty_every=2)(data)["label"].shape
    torch.Size([3, 1, 30, 40])
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
        """Cuts the image of every key, and the label."""
        keys = list(self.key_iterator(data))
        first, kept, label = data[keys[0]], None, {}
        if self.label_key is not None:
            slices = _label_slices(first, data[self.label_key])
            kept = self._kept(slices)
            label = {self.label_key: _with_record(slices[kept], data[self.label_key], cut_of(first), kept)}
        for key in keys[1:]:
            check_same_geometry(first, data[key])
        return {**data, **{key: self.cut(data[key], kept) for key in keys}, **label}

    def _kept(self, label: torch.Tensor) -> list[int]:
        filled = label.flatten(1).any(dim=1).tolist()  # (N, n, H, W) -> N
        every = self.empty_every or 1
        return [place for place, labelled in enumerate(filled) if labelled or place % every == 0]


class SlicesToVolume(Transform):
    """Puts a network's results of slices back to a volume: the bit-identical inverse of :class:`VolumeToSlices`.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SlicesToVolume, VolumeToSlices
    >>> slices = VolumeToSlices()(torch.zeros(1, 40, 30, 5))  # (5, 3, 30, 40)
    >>> SlicesToVolume()(torch.ones(5, 2, 30, 40), slices).shape
    torch.Size([2, 40, 30, 5])
    """

    def __call__(self, results: torch.Tensor, slices: torch.Tensor) -> MetaTensor:
        """Puts (N, C, H, W) -> (C, X, Y, Z), or (C, X, Y) of a picture, with its metadata; left-out slices are 0.

        Parameters
        ----------
        results
            One result for each slice, of the slice's height and width.
        slices
            The slices that :class:`VolumeToSlices` returned, or a tensor made of them that kept their metadata.

        Raises
        ------
        ValueError
            The metadata of the slices does not describe their cut, or the results do not fit the slices; the message
            names the file.
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
            every = empty.index_copy(0, torch.tensor(kept, device=every.device), every)  # (all slices, C, H, W)
        meta = {key: value for key, value in slices.meta.items() if key != SLICES}
        volume = cut.volume(every)
        return MetaTensor(volume if len(record["shape"]) == 3 else volume[..., 0], meta=meta)  # (C, X, Y[, Z])


class SlicesToVolumed(MapTransform):
    """Puts the results of a dictionary back as :class:`SlicesToVolume` does; `source_key` holds the network's slices.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SlicesToVolumed, VolumeToSlicesd
    >>> data = VolumeToSlicesd("image")({"image": torch.zeros(1, 40, 30, 5), "mask": torch.ones(5, 1, 30, 40)})
    >>> SlicesToVolumed("mask", source_key="image")(data)["mask"].shape
    torch.Size([1, 40, 30, 5])
    """

    def __init__(self, keys: KeysCollection, source_key: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_volume = SlicesToVolume()
        self.source_key = source_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Puts the results of every key back to a volume."""
        source = data[self.source_key]
        return {**data, **{key: self.to_volume(data[key], source) for key in self.key_iterator(data)}}


def _with_record(slices: torch.Tensor, image: torch.Tensor, cut: Cut, kept: Sequence[int]) -> MetaTensor:
    meta = dict(image.meta) if isinstance(image, MetaTensor) else {}
    record = {
        "kept": list(kept),
        "shape": list(image.shape[1:]),
        "flipped": list(cut.flipped),
        "order": list(cut.order),
    }
    return MetaTensor(slices, meta={**meta, SLICES: record})


def _label_slices(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    check_label(image, label)
    return cut_of(image).pictures(slices_of(label))  # (N, n, H, W)
