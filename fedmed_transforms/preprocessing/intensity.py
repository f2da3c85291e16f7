"""Scales the intensities of any modality to the range [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from fedmed_transforms.image_metadata import FULL_SCALE, with_metadata_of


class ScaleToUnit(Transform):
    """Scales an image to [0, 1]: a picture by the full scale of its format, any other image by its own quantiles.

    A jpg or png is divided by 255 or 65535, as in the training of picture networks. The image of a scanner has no full
    scale: the image is clipped at the two quantiles and scaled between them; if both quantiles are equal, the image is
    scaled between its extremes. A constant image becomes zero.

    Parameters
    ----------
    lower, upper
        Quantiles in [0, 1], lower < upper.

    Raises
    ------
    ValueError
        The quantiles are not ordered, or an image holds values that are not finite (the message names its file).

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ScaleToUnit
    >>> ScaleToUnit(lower=0.0, upper=1.0)(torch.tensor([[-1000.0, 0.0, 1000.0]]))
    tensor([[0.0000, 0.5000, 1.0000]])
    """

    def __init__(self, lower: float = 0.0, upper: float = 0.99) -> None:
        if not 0 <= lower < upper <= 1:
            raise ValueError(f"quantiles: expected 0 <= lower < upper <= 1, found lower={lower}, upper={upper}")
        self.lower = lower
        self.upper = upper

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Scales an image of any shape, float values in and out."""
        image = image.float()
        meta = image.meta if isinstance(image, MetaTensor) else {}
        if FULL_SCALE in meta:
            return image / float(meta[FULL_SCALE])
        values = image.as_tensor() if isinstance(image, MetaTensor) else image
        if not _is_finite(values):
            raise ValueError(f"{meta.get('filename_or_obj', 'image')}: found values that are not finite")
        low, high = quantiles(values, (self.lower, self.upper))
        if high <= low:  # nearly all of the image is one value: the other values must not be lost
            low, high = float(values.min()), float(values.max())
        if high <= low:
            return image * 0
        return with_metadata_of(image, values.clamp(low, high).sub_(low).div_(high - low))  # one copy of the image


class ScaleToUnitd(MapTransform):
    """Scales the images of a dictionary as :class:`ScaleToUnit` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ScaleToUnitd
    >>> picture = MetaTensor(torch.tensor([[0.0, 51.0, 255.0]]), meta={"full_scale": 255})
    >>> ScaleToUnitd("image")({"image": picture})["image"]
    metatensor([[0.0000, 0.2000, 1.0000]])
    """

    def __init__(
        self, keys: KeysCollection, lower: float = 0.0, upper: float = 0.99, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = ScaleToUnit(lower, upper)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scales the image of every key."""
        return {**data, **{key: self.scale(data[key]) for key in self.key_iterator(data)}}


def _is_finite(values: torch.Tensor) -> bool:
    """Checks values; on the CPU by numpy, which needs a quarter of torch's memory for it."""
    return bool(np.isfinite(values.numpy()).all() if values.device.type == "cpu" else torch.isfinite(values).all())


def quantiles(values: torch.Tensor, fractions: Sequence[float]) -> list[float]:
    """Computes quantiles of all values on the tensor's device, bit-identical to ``numpy.quantile`` (linear).

    Parameters
    ----------
    values
        Any shape and number of float32 values (``torch.quantile`` refuses more than 16 million), all of them finite.
    fractions
        The quantiles to compute, each in [0, 1].
    """
    if values.device.type == "cpu":  # numpy partitions, which is several times faster than a sort
        return [float(value) for value in np.quantile(values.numpy(), fractions)]
    return quantiles_by_sorting(values, fractions)


def quantiles_by_sorting(values: torch.Tensor, fractions: Sequence[float]) -> list[float]:
    """Computes :func:`quantiles` of a tensor on an accelerator, where sorting is fast and deterministic."""
    ordered = values.flatten().sort().values
    places = [fraction * (len(ordered) - 1) for fraction in fractions]
    below = [math.floor(place) for place in places]
    neighbours = torch.tensor([below, [min(index + 1, len(ordered) - 1) for index in below]], device=values.device)
    low, high = ordered[neighbours].cpu()
    step = (high - low).tolist()  # float32 as in numpy, which then interpolates in float64 from the nearer end
    pairs = zip(low.tolist(), high.tolist(), step, places, below, strict=True)
    return [
        a + difference * (place - index) if place - index < 0.5 else b - difference * (1 - (place - index))
        for a, b, difference, place, index in pairs
    ]
