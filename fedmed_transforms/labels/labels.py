"""Converts label maps to channels, one mask of 0 and 1 for each structure that a network segments, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from fedmed_transforms.dicom.pixels.scaling import EXACT
from fedmed_transforms.image_metadata import (
    PADDING_REPLACED,
    REGIONS,
    STORED_TYPE,
    STRUCTURES,
    file_of,
    plain_tensor,
    with_metadata_of,
)
from fedmed_transforms.labels.channel_rules import NONZERO, Values, channel_rules
from fedmed_transforms.labels.label_map import COVERED, GRID, covered_voxels, regions_of

MOST_VALUES_SHOWN = 10

WIDE_TYPES = ("int32", "uint32", "int64", "uint64", "float64")
"""Types of a file's voxels that hold more whole numbers than float32."""

MOST_CHANNELS = 255
"""The largest number of labels that 8 bits hold beside the background."""


class LabelsToChannels(Transform):
    """Converts a label map to channels of 0 and 1; channels may overlap: a disc includes its cup.

    Segments of a DICOM SEG may overlap, too: each channel has all voxels of its segments.

    Parameters
    ----------
    channels
        The label values of each channel, or ``"nonzero"``: a mapping by the channel's name, or a list. Names of
        segments of a DICOM SEG or of structures of an RTSTRUCT may stand among the values: in such a file the channel
        has the segments with these names, and the file's other segments belong to no channel.
    ignored
        Values that may occur and belong to no channel; 0, the background, is always allowed.

    Attributes
    ----------
    names
        The names of the channels in order; numbers from 0 for a list.

    Raises
    ------
    ValueError
        There is no channel, or a channel has no values; a label map has several channels, or a value that is neither in
        a channel nor ignored (the message names the file and the values); a file has no segment or structure of a
        channel's names, or the structure does not fit the image.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import LabelsToChannels
    >>> LabelsToChannels({"disc": [1, 2], "cup": [2]})(torch.tensor([[[0, 1, 2]]])).tolist()
    [[[0.0, 1.0, 1.0]], [[0.0, 0.0, 1.0]]]
    """

    def __init__(self, channels: Mapping[str, Values] | Sequence[Values], ignored: Sequence[int] = ()) -> None:
        self.rules = channel_rules(channels)
        self.names = [rule.channel for rule in self.rules]
        self.ignored = [int(value) for value in ignored]

    def __call__(self, label: torch.Tensor) -> torch.Tensor:
        """Converts whole numbers (1, X, Y) or (1, X, Y, Z) of any type -> float32 (n, X, Y) or (n, X, Y, Z)."""
        meta = label.meta if isinstance(label, MetaTensor) else {}
        if label.ndim not in (3, 4) or label.shape[0] != 1 or STRUCTURES in meta:
            found = "a structure set" if STRUCTURES in meta else tuple(label.shape)
            expected = "expected labels (1, X, Y) or (1, X, Y, Z)"
            raise ValueError(f"{file_of(label)}: {expected}, found {found}{_advice(label)}")
        _check_padding(label, meta)
        values, covered, regions = _comparable(plain_tensor(label)), covered_voxels(label), regions_of(meta)
        chosen = [rule.select(regions, file_of(label)) for rule in self.rules]
        if not all(isinstance(rule, str) for rule in chosen):
            _check_exact(label, meta)
        if regions is None or not any(rule.names for rule in self.rules):  # names leave out the other regions
            self._check(label, values, chosen)
            self._check(label, covered[3], chosen)
        channels = _stacked([_is_in(values, rule)[0] for rule in chosen])
        for channel, rule in zip(channels, chosen, strict=True):
            x, y, z = covered[:3, _is_in(covered[3], rule)].to(channel.device)
            (channel if channel.ndim == 3 else channel[..., None])[x, y, z] = True
        found = with_metadata_of(label, channels.float())
        if isinstance(found, MetaTensor):
            found.meta = {key: value for key, value in meta.items() if key not in (COVERED, GRID, REGIONS)}
        return found

    def _check(self, label: torch.Tensor, values: torch.Tensor, chosen: Sequence[Sequence[int] | str]) -> None:
        known = sorted({0, *self.ignored}.union(*(rule for rule in chosen if not isinstance(rule, str))))
        expected = _is_in(values, known)
        if NONZERO in chosen:
            expected |= (values > 0) & (values == values.round() if values.is_floating_point() else True)
        if not bool(expected.all()):
            unknown = values[~expected]
            found = unknown[~unknown.isnan()].unique().tolist() + [float("nan")] * bool(unknown.isnan().any())
            shown = ", ".join(_shown(value) for value in found[:MOST_VALUES_SHOWN])
            more = f" and {len(found) - MOST_VALUES_SHOWN} more" if len(found) > MOST_VALUES_SHOWN else ""
            above, advice = " and above" if NONZERO in chosen else "", _advice(label)
            raise ValueError(f"{file_of(label)}: found the label values {shown}{more}, expected {known}{above}{advice}")


class LabelsToChannelsd(MapTransform):
    """Converts the label maps of a dictionary as :class:`LabelsToChannels` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import LabelsToChannelsd
    >>> LabelsToChannelsd("label", ["nonzero"])({"label": torch.tensor([[[0, 7, 9]]])})["label"].tolist()
    [[[0.0, 1.0, 1.0]]]
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: Mapping[str, Values] | Sequence[Values],
        ignored: Sequence[int] = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_channels = LabelsToChannels(channels, ignored)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts the label map of every key to channels."""
        return {**data, **{key: self.to_channels(data[key]) for key in self.key_iterator(data)}}


class ChannelsToLabels(Transform):
    """Converts masks, one channel each, to one label map for viewers and MONAI Label: label k + 1 is channel k.

    Where channels overlap, the later channel covers the earlier one: a disc and then its cup both stay visible.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ChannelsToLabels
    >>> ChannelsToLabels()(torch.tensor([[[0, 1, 1]], [[0, 0, 1]]])).tolist()
    [[0, 1, 2]]
    """

    def __call__(self, masks: torch.Tensor) -> torch.Tensor:
        """Converts 0 and 1, (n, X, Y, Z) -> uint8 (1, X, Y, Z); for a picture (n, X, Y) -> (X, Y), as in MONAI Label.

        Raises
        ------
        ValueError
            The masks have another number of axes, no or more than 255 channels, or values besides 0 and 1; the message
            names the file.
        """
        if masks.ndim not in (3, 4) or not 1 <= masks.shape[0] <= MOST_CHANNELS:
            expected = f"masks (n, X, Y) or (n, X, Y, Z) of 1 to {MOST_CHANNELS} channels"
            raise ValueError(f"{file_of(masks)}: expected {expected}, found {tuple(masks.shape)}")
        values = plain_tensor(masks)
        if not bool(_is_in(values, [0, 1]).all()):
            raise ValueError(f"{file_of(masks)}: expected masks of 0 and 1, found other values")
        labels = torch.zeros(values.shape[1:], dtype=torch.uint8, device=values.device)
        for label, mask in enumerate(values, start=1):
            labels[mask > 0] = label
        return with_metadata_of(masks, labels[None] if masks.ndim == 4 else labels)  # (1, X, Y, Z) or (X, Y)


class ChannelsToLabelsd(MapTransform):
    """Converts the masks of a dictionary as :class:`ChannelsToLabels` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ChannelsToLabelsd
    >>> ChannelsToLabelsd("mask")({"mask": torch.ones(2, 4, 4, 3)})["mask"].shape
    torch.Size([1, 4, 4, 3])
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.to_labels = ChannelsToLabels()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Converts the masks of every key to a label map."""
        return {**data, **{key: self.to_labels(data[key]) for key in self.key_iterator(data)}}


def _stacked(masks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stacks masks in their own order of voxels in memory, which is several times faster than in another one."""
    if masks[0].is_contiguous():
        return torch.stack(list(masks))
    axes = range(masks[0].ndim)[::-1]
    return torch.stack([mask.permute(*axes) for mask in masks]).permute(0, *(axis + 1 for axis in axes))


def _advice(label: torch.Tensor) -> str:
    """Returns the advice for a picture that was loaded as it looks: its file may store other numbers."""
    if not file_of(label).lower().endswith((".png", ".bmp", ".tif", ".tiff")):
        return ""
    return "; the numbers that a picture stores are loaded by load_label, or under the label_keys of LoadMedicalImaged"


def _check_padding(label: torch.Tensor, meta: Mapping[str, Any]) -> None:
    """Refuses a DICOM image as label whose padded pixels, often its background, have the value of another pixel."""
    if meta.get(PADDING_REPLACED):
        found = "found a label with a PixelPaddingValue, whose pixels have the lowest other value"
        raise ValueError(f"{file_of(label)}: {found}; the rule padding='keep' keeps theirs")


def _check_exact(label: torch.Tensor, meta: Mapping[str, Any]) -> None:
    """Refuses a label of larger numbers than float32 holds exactly: two label values of its file may be one."""
    values = plain_tensor(label)
    if meta.get(STORED_TYPE) not in WIDE_TYPES or values.dtype != torch.float32 or not values.numel():
        return
    low, high = (int(end) for end in values.nan_to_num().aminmax())
    if max(-low, high) >= EXACT:
        found = f"found values from about {low} to about {high}, stored as {meta[STORED_TYPE]}"
        expected = f"expected label values below {EXACT} (2^24), as larger ones are rounded"
        raise ValueError(f"{file_of(label)}: {found}, {expected}; number the labels from 1 again")


def _comparable(values: torch.Tensor) -> torch.Tensor:
    """Converts label values to a type that holds them exactly and compares fast."""
    if values.is_floating_point():
        return values if values.dtype in (torch.float32, torch.float64) else values.float()
    return values.float() if values.element_size() < 4 else values.long()


def _shown(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def _is_in(values: torch.Tensor, rule: Sequence[int] | str) -> torch.Tensor:
    if isinstance(rule, str):
        return values > 0
    found = torch.zeros_like(values, dtype=torch.bool)
    for value in rule:  # five times faster than torch.isin on the CPU
        if values.dtype != torch.float32 or float(np.float32(value)) == value:  # else it is rounded to another
            found |= values == value
    return found
