"""Converts label maps to channels, one mask of 0 and 1 for each structure that a network segments, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from fedmed_transforms.image_metadata import file_of, plain_tensor, with_metadata_of

NONZERO = "nonzero"
"""Stands for every value above zero, for labels that number instances (nuclei 1, 2, 3, ...)."""

Values: TypeAlias = Sequence[int] | str

MOST_VALUES_SHOWN = 10

MOST_CHANNELS = 255
"""The largest number of labels that 8 bits hold beside the background."""


class LabelsToChannels(Transform):
    """Converts a label map to channels of 0 and 1; channels may overlap: a disc includes its cup.

    Parameters
    ----------
    channels
        The label values of each channel, or ``"nonzero"``: a mapping by the channel's name, or a list.
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
        a channel nor ignored (the message names the file and the values).

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import LabelsToChannels
    >>> LabelsToChannels({"disc": [1, 2], "cup": [2]})(torch.tensor([[[0, 1, 2]]])).tolist()
    [[[0.0, 1.0, 1.0]], [[0.0, 0.0, 1.0]]]
    """

    def __init__(self, channels: Mapping[str, Values] | Sequence[Values], ignored: Sequence[int] = ()) -> None:
        named = channels if isinstance(channels, Mapping) else dict(zip(map(str, range(len(channels))), channels))
        wrong = [name for name, values in named.items() if not _is_rule(values)]
        if wrong or not named:
            raise ValueError(f"channels: expected label values or {NONZERO!r} for each, found {dict(named)}")
        self.names = list(named)
        self.rules = [
            values if isinstance(values, str) else [int(value) for value in values] for values in named.values()
        ]
        self.known = sorted({0, *map(int, ignored)}.union(*(rule for rule in self.rules if not isinstance(rule, str))))

    def __call__(self, label: torch.Tensor) -> torch.Tensor:
        """Converts whole numbers (1, X, Y) or (1, X, Y, Z) of any type -> float32 (n, X, Y) or (n, X, Y, Z)."""
        if label.ndim not in (3, 4) or label.shape[0] != 1:
            expected = "expected labels (1, X, Y) or (1, X, Y, Z)"
            raise ValueError(f"{file_of(label)}: {expected}, found {tuple(label.shape)}{_advice(label)}")
        values = plain_tensor(label).float()
        self._check(label, values)
        return with_metadata_of(label, torch.cat([_is_in(values, rule) for rule in self.rules]).float())

    def _check(self, label: torch.Tensor, values: torch.Tensor) -> None:
        expected = _is_in(values, self.known)
        if NONZERO in self.rules:
            expected |= (values > 0) & (values == values.round())
        if not bool(expected.all()):
            unknown = values[~expected]
            found = unknown[~unknown.isnan()].unique().tolist() + [float("nan")] * bool(unknown.isnan().any())
            shown = ", ".join(f"{value:g}" for value in found[:MOST_VALUES_SHOWN])
            more = f" and {len(found) - MOST_VALUES_SHOWN} more" if len(found) > MOST_VALUES_SHOWN else ""
            above = " and above" if NONZERO in self.rules else ""
            advice = _advice(label)
            raise ValueError(
                f"{file_of(label)}: found the label values {shown}{more}, expected {self.known}{above}{advice}"
            )


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


def _advice(label: torch.Tensor) -> str:
    """Returns the advice for a picture that was loaded as it looks: its file may store other numbers."""
    if not file_of(label).lower().endswith((".png", ".bmp", ".tif", ".tiff")):
        return ""
    return "; the numbers that a picture stores are loaded by load_label, or under the label_keys of LoadMedicalImaged"


def _is_rule(values: Any) -> bool:
    if isinstance(values, (str, int, float)) or values is None:
        return values == NONZERO
    return len(values) > 0 and all(value == int(value) for value in values)


def _is_in(values: torch.Tensor, rule: Values) -> torch.Tensor:
    if isinstance(rule, str):
        return values > 0
    found = torch.zeros_like(values, dtype=torch.bool)
    for value in rule:  # five times faster than torch.isin on the CPU
        found |= values == value
    return found
