"""Intensities of any modality to the range [0, 1]."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

FULL_SCALE = "full_scale"
"""Entry of an image's metadata: the largest value that its file format can hold, set by readers of pictures."""


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
        # numpy: torch.quantile refuses more than 16 million values
        low, high = (float(value) for value in np.quantile(values.cpu().numpy(), [self.lower, self.upper]))
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
