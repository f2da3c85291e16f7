"""Intensities of any modality to the range [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from fedmed_transforms.image_metadata import FULL_SCALE


class ScaleToUnit(Transform):
    """Scales an image to [0, 1]: a picture by its format's full scale, anything else by its own quantiles.

    A jpg or png is divided by 255 or 65535, as every picture network was trained. A scanner's image has no such full
    scale: it is clipped at the two quantiles and scaled between them; where both are the same value, it is scaled
    between its extremes. A constant image becomes zero.

    Parameters
    ----------
    lower, upper
        Quantiles in [0, 1], lower < upper.

    Raises
    ------
    ValueError
        The quantiles are not ordered, or an image holds values that are not finite (the message names its file).
    """

    def __init__(self, lower: float = 0.0, upper: float = 0.99) -> None:
        if not 0 <= lower < upper <= 1:
            raise ValueError(f"quantiles: expected 0 <= lower < upper <= 1, found lower={lower}, upper={upper}")
        self.lower = lower
        self.upper = upper

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Any shape, float values in and out."""
        image = image.float()
        meta = image.meta if isinstance(image, MetaTensor) else {}
        if FULL_SCALE in meta:
            return image / float(meta[FULL_SCALE])
        values = image.as_tensor() if isinstance(image, MetaTensor) else image
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{meta.get('filename_or_obj', 'image')}: found values that are not finite")
        low, high = quantiles(values, (self.lower, self.upper))
        if high <= low:  # nearly all of the image is one value: what differs must not be lost
            low, high = float(values.min()), float(values.max())
        if high <= low:
            return image * 0
        return (image.clamp(low, high) - low) / (high - low)


class ScaleToUnitd(MapTransform):
    """Dictionary form of :class:`ScaleToUnit`."""

    def __init__(
        self, keys: KeysCollection, lower: float = 0.0, upper: float = 0.99, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = ScaleToUnit(lower, upper)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scales every key's image."""
        return {**data, **{key: self.scale(data[key]) for key in self.key_iterator(data)}}


def quantiles(values: torch.Tensor, fractions: Sequence[float]) -> list[float]:
    """Quantiles of all values, interpolated linearly: to the bit those of ``numpy.quantile``, on the tensor's device.

    Parameters
    ----------
    values
        Any shape and number of float32 values (``torch.quantile`` refuses more than 16 million), all of them finite.
    fractions
        Which quantiles, each in [0, 1].
    """
    if values.device.type == "cpu":  # numpy partitions, which is several times faster than a sort
        return [float(value) for value in np.quantile(values.numpy(), fractions)]
    return quantiles_by_sorting(values, fractions)


def quantiles_by_sorting(values: torch.Tensor, fractions: Sequence[float]) -> list[float]:
    """:func:`quantiles` of a tensor on an accelerator, where sorting is fast and deterministic."""
    ordered = values.flatten().sort().values
    places = [fraction * (len(ordered) - 1) for fraction in fractions]
    below = [math.floor(place) for place in places]
    neighbours = torch.tensor([below, [min(index + 1, len(ordered) - 1) for index in below]], device=values.device)
    low, high = ordered[neighbours].cpu()
    step = (high - low).tolist()  # in float32, as numpy's, which then interpolates in float64 from the nearer end
    pairs = zip(low.tolist(), high.tolist(), step, places, below, strict=True)
    return [
        a + difference * (place - index) if place - index < 0.5 else b - difference * (1 - (place - index))
        for a, b, difference, place, index in pairs
    ]
