"""Simulates the acquisition of images by another scanner: contrast, shading, resolution and noise."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from monai.transforms import (
    AdjustContrast,
    RandBiasField,
    RandGaussianNoise,
    RandSimulateLowResolution,
    Transform,
)

from fedmed_transforms.image_metadata import plain_tensor, with_metadata_of


class AcquisitionShift(Transform):
    """Changes pictures as a scanner's acquisition does, in the order of the acquisition, with MONAI's transforms.

    The shading and the noise of an image depend only on the seed and on the image's values: the same image is changed
    in the same way in every pass, after every restart and on every machine, so its features can be cached. Values stay
    in [0, 1].

    Parameters
    ----------
    contrast
        Exponent of :class:`monai.transforms.AdjustContrast` between the image's extremes, above 0: below 1 brighter,
        above 1 darker; 1 changes nothing.
    bias_field
        Largest coefficient, 0 or above, of the Legendre polynomials up to degree 3 along each axis whose exponential
        shades the image (:class:`monai.transforms.RandBiasField`); the image keeps its mean; 0 changes nothing.
    resolution
        Fraction in (0, 1] of the image's pixels along a side: each picture is averaged to this resolution and
        interpolated back linearly (:class:`monai.transforms.RandSimulateLowResolution`); 1 changes nothing.
    noise
        Standard deviation of Gaussian noise, 0 or above, relative to a full scale of 1
        (:class:`monai.transforms.RandGaussianNoise`); 0 changes nothing.
    seed
        Seed of shading and noise.

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import AcquisitionShift
    >>> shift = AcquisitionShift(contrast=0.8, bias_field=0.3, noise=0.02)
    >>> shift(torch.rand(5, 1, 32, 32)).shape
    torch.Size([5, 1, 32, 32])
    """

    def __init__(
        self,
        contrast: float = 1.0,
        bias_field: float = 0.0,
        resolution: float = 1.0,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        ranges = (
            ("contrast", contrast, 0 < contrast < float("inf"), "a number above 0"),
            ("bias_field", bias_field, 0 <= bias_field < float("inf"), "0 or a number above"),
            ("resolution", resolution, 0 < resolution <= 1, "a number above 0 and up to 1"),
            ("noise", noise, 0 <= noise < float("inf"), "0 or a number above"),
        )
        for name, value, fits, expected in ranges:
            if not fits:
                raise ValueError(f"{name}: found {value}, expected {expected}")
        self.contrast, self.bias_field, self.resolution, self.noise = contrast, bias_field, resolution, noise
        self.seed = seed

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Changes pictures in [0, 1], (N, C, H, W) -> (N, C, H, W); N pictures are the slices of one shaded volume."""
        values = plain_tensor(pictures).float()
        volume = values.transpose(0, 1)  # (C, N, H, W)
        random = np.random.RandomState(self._seed_of(values))
        if self.contrast != 1:
            volume = AdjustContrast(self.contrast)(volume)
        if self.bias_field:
            volume = self._shade(plain_tensor(volume), random)
        if self.resolution != 1:
            volume = self._lower_resolution(volume)
        if self.noise:
            noise = RandGaussianNoise(prob=1, std=self.noise, sample_std=False)
            volume = noise.set_random_state(state=random)(volume)
        return with_metadata_of(pictures, plain_tensor(volume).transpose(0, 1).clamp(0, 1).contiguous())

    def _shade(self, volume: torch.Tensor, random: np.random.RandomState) -> torch.Tensor:
        """Shades a volume and keeps its mean: a scanner's receiver is adjusted to the image."""
        field = RandBiasField(prob=1, coeff_range=(-self.bias_field, self.bias_field)).set_random_state(state=random)
        single = volume.shape[1] == 1  # the field of a picture has two axes
        shaded = plain_tensor(field(volume[:, 0])[:, None] if single else field(volume))  # (C, N, H, W)
        return shaded * (volume.mean() / shaded.mean().clamp(min=torch.finfo(shaded.dtype).tiny))

    def _lower_resolution(self, volume: torch.Tensor) -> torch.Tensor:
        """Lowers the resolution within each slice, like a smaller matrix of the scanner."""
        zoom = (self.resolution, self.resolution)
        low = RandSimulateLowResolution(prob=1, downsample_mode="area", upsample_mode="bilinear", zoom_range=zoom)
        resampled: torch.Tensor = plain_tensor(low(plain_tensor(volume).flatten(0, 1)))  # (C N, H, W)
        return resampled.unflatten(0, volume.shape[:2])  # (C, N, H, W)

    def _seed_of(self, values: torch.Tensor) -> int:
        digest = hashlib.sha256(f"{self.seed} {tuple(values.shape)} ".encode())
        digest.update(values.contiguous().cpu().numpy().tobytes())
        return int.from_bytes(digest.digest()[:4], "big")
