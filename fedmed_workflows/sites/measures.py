"""Measures an image for federated statistics: its intensities, its spacing in mm and its size in voxels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from monai.data import MetaTensor

from fedmed_transforms.image_metadata import file_of, plain_tensor

INTENSITY = "intensity"
AXES = ("x", "y", "z")

PART = 1 << 20
"""Number of voxels that are converted to double precision at a time."""


class Moments(NamedTuple):
    """Moments of one quantity of an image, or of all images of a patient.

    Attributes
    ----------
    mean, square
        Mean of the quantity, and mean of its square.
    least, greatest
        Range of the quantity.
    """

    mean: float
    square: float
    least: float
    greatest: float


def moments_of_value(value: float) -> Moments:
    """Returns the moments of a single number."""
    return Moments(value, value * value, value, value)


def pooled_moments(parts: Iterable[Moments]) -> Moments:
    """Returns the moments of several images together. Each image has the same weight."""
    listed = list(parts)
    return Moments(
        math.fsum(part.mean for part in listed) / len(listed),
        math.fsum(part.square for part in listed) / len(listed),
        min(part.least for part in listed),
        max(part.greatest for part in listed),
    )


def image_moments(image: MetaTensor) -> dict[str, Moments]:
    """Returns the moments of the quantities of an image, by name.

    Parameters
    ----------
    image
        (C, X, Y) for a picture, which has no position in the patient, or (C, X, Y, Z) for a volume.

    Returns
    -------
    dict
        ``intensity`` of all voxels and channels, in the units of the file; ``size x``, ``size y`` (``size z``) in
        voxels; for a volume also ``spacing x``, ``spacing y`` and ``spacing z`` in mm.

    Raises
    ------
    ValueError
        A value is not finite. The message names the file.
    """
    sizes = {f"size {axis}": moments_of_value(float(size)) for axis, size in zip(AXES, image.shape[1:])}
    spacings = image.pixdim.tolist() if image.ndim == 4 else []
    spaced = {f"spacing {axis}": moments_of_value(spacing) for axis, spacing in zip(AXES, spacings)}
    return {INTENSITY: _intensity(image), **spaced, **sizes}


def _intensity(image: MetaTensor) -> Moments:
    values = plain_tensor(image).flatten()
    sums = [(part.double().sum().item(), part.double().square().sum().item()) for part in values.split(PART)]
    total, squares = (math.fsum(part) / len(values) for part in zip(*sums, strict=True))
    if not math.isfinite(total):
        raise ValueError(f"{file_of(image)}: found values that are not finite, expected numbers")
    least, greatest = torch.aminmax(values)
    return Moments(total, squares, least.item(), greatest.item())
