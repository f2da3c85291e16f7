"""Simulates the scanners of three hospitals and of an unseen hospital, which differ like real scanners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scanner:
    """Describes a hospital's scanner, and the share of each class in its images."""

    manufacturer: str
    model: str
    matrix: float  # pixels of a side, relative to the requested size
    field: float  # field of view in mm
    gamma: float  # exponent of the contrast; 1 changes nothing
    noise: float  # standard deviation, relative to the brightest tissue
    shading: float  # relative change of intensity by the coil, from one side of the field of view to the other
    mix: tuple[float, float, float, float]  # images of each of the four classes, relative to the requested number


SCANNERS = {
    "harbour": Scanner("Northlight", "Vista 1.5T", 1.0, 220, 1.0, 0.02, 0.10, (1.25, 1.0, 1.0, 0.75)),
    "hillside": Scanner("Northlight", "Vista 3T", 1.5, 230, 0.75, 0.04, 0.25, (0.75, 1.25, 1.0, 1.0)),
    "riverbend": Scanner("Meridian", "Orbit 1.5T", 1.25, 240, 1.3, 0.03, 0.20, (1.0, 0.75, 1.0, 1.25)),
    "unseen": Scanner("Meridian", "Orbit 3T", 1.75, 210, 0.85, 0.05, 0.30, (1.0, 1.0, 1.0, 1.0)),
}
"""Scanners by the name of the hospital's folder; no federation trains on the labels of the last hospital."""


def soft_mask(distance: Image, radius: float) -> Image:
    """Returns one within a radius and zero outside, with a linear edge of width 0.04."""
    return np.clip((radius - distance) / 0.04 + 0.5, 0, 1)


def pixel_grid(side: int) -> tuple[Image, Image]:
    """Returns the coordinates x, y of a square picture's pixels, (rows, columns), from -1 to 1 across the view."""
    y, x = np.meshgrid(*2 * [(np.arange(side) + 0.5) / side * 2 - 1], indexing="ij")
    return x, y


def scan(image: Image, scanner: Scanner, rng: np.random.Generator) -> Image:
    """Applies a scanner to a phantom: its contrast, the shading of one coil, and noise.

    Parameters
    ----------
    image
        The phantom in [0, 1], (rows, columns) or (slices, rows, columns), square.
    scanner
        The scanner.
    rng
        Random generator of the coil's side and of the noise.

    Returns
    -------
    numpy.ndarray
        The image of the same shape, in [0, 1].
    """
    x, y = pixel_grid(image.shape[-1])
    coil = rng.uniform(0, 2 * np.pi)
    shaded = image**scanner.gamma * (1 + scanner.shading / 2 * (np.cos(coil) * x + np.sin(coil) * y))
    real, imaginary = rng.normal(0, scanner.noise, (2, *image.shape))
    return np.clip(np.hypot(shaded + real, imaginary) / 1.3, 0, 1)  # the magnitude of a complex signal, as in MRI
