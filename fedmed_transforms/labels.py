"""Label maps to channels: one map of 0 and 1 for every structure that a network segments."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from fedmed_transforms.image_metadata import file_of, like, values_of

NONZERO = "nonzero"
"""Instead of label values: every value above zero, for labels that number instances (nuclei 1, 2, 3, ...)."""

Values: TypeAlias = Sequence[int] | str

MOST_VALUES_SHOWN = 10


class LabelsToChannels(Transform):
    """Takes a label map to channels of 0 and 1, which may overlap: a disc includes its cup.

    Parameters
    ----------
    channels
        The label values of each channel, or ``"nonzero"``: a mapping by the channel's name, or a list of them.
    ignored
        Values that may occur and belong to no channel; 0, the background, always may.

    Attributes
    ----------
    names
        The channels' names, in their order; numbers from 0 for a list.

    Raises
    ------
    ValueError
        No channel, or one without values; a label map of several channels, or one with a value that is neither in a
        channel nor ignored (the message names its file and the values).
    """

    def __init__(self, channels: Mapping[str, Values] | Sequence[Values], ignored: Sequence[int] = ()) -> None:
        named = channels if isinstance(channels, Mapping) else dict(zip(map(str, range(len(channels))), channels))
        wrong = [name for name, values in named.items() if not values or isinstance(values, str) and values != NONZERO]
        if wrong or not named:
            raise ValueError(f"channels: expected label values or {NONZERO!r} for each, found {dict(named)}")
        self.names = list(named)
        self.rules = [
            values if isinstance(values, str) else [int(value) for value in values] for values in named.values()
        ]
        self.known = sorted({0, *map(int, ignored)}.union(*(rule for rule in self.rules if not isinstance(rule, str))))

    def __call__(self, label: torch.Tensor) -> torch.Tensor:
        """Whole numbers (1, X, Y) or (1, X, Y, Z) of any type -> float32 (n, X, Y) or (n, X, Y, Z)."""
        if label.ndim not in (3, 4) or label.shape[0] != 1:
            raise ValueError(f"{file_of(label)}: expected labels (1, X, Y) or (1, X, Y, Z), found {tuple(label.shape)}")
        values = values_of(label).float()
        self._check(label, values)
        return like(label, torch.cat([_belongs(values, rule) for rule in self.rules]).float())

    def _check(self, label: torch.Tensor, values: torch.Tensor) -> None:
        expected = _belongs(values, self.known)
        if NONZERO in self.rules:
            expected |= (values > 0) & (values == values.round())
        if not bool(expected.all()):
            found = values[~expected].unique().tolist()
            shown = ", ".join(f"{value:g}" for value in found[:MOST_VALUES_SHOWN])
            more = f" and {len(found) - MOST_VALUES_SHOWN} more" if len(found) > MOST_VALUES_SHOWN else ""
            above = " and above" if NONZERO in self.rules else ""
            raise ValueError(f"{file_of(label)}: found the label values {shown}{more}, expected {self.known}{above}")


class LabelsToChannelsd(MapTransform):
    """Dictionary form of :class:`LabelsToChannels`."""

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
        """Takes every key's label map to channels."""
        return {**data, **{key: self.to_channels(data[key]) for key in self.key_iterator(data)}}


def _belongs(values: torch.Tensor, rule: Values) -> torch.Tensor:
    if isinstance(rule, str):
        return values > 0
    found = torch.zeros_like(values, dtype=torch.bool)
    for value in rule:  # five times faster than torch.isin on the CPU
        found |= values == value
    return found
