"""Images as another scanner would have acquired them: contrast, shading, resolution and noise of a site's own."""

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
    """Changes pictures as an acquisition would, in the order in which one does: what is seen, by MONAI's transforms.

    What differs from image to image, the shading and the noise, is drawn from the seed and the image's values alone:
    the same image is changed in the same way in every pass, at every restart and on every machine, and its features
    can be kept. Values stay in [0, 1].

    Parameters
    ----------
    contrast
        Exponent of :class:`monai.transforms.AdjustContrast` between the image's extremes, above 0: below 1 brighter,
        above 1 darker; 1 for none.
    bias_field
        Largest coefficient, 0 or above, of the Legendre polynomials up to degree 3 along each axis whose exponential
        shades the image (:class:`monai.transforms.RandBiasField`); its mean stays as it is; 0 for none.
    resolution
        Pixels a side that are left, as a part of the image's own, in (0, 1]: averaged, and brought back by linear
        interpolation, within each picture (:class:`monai.transforms.RandSimulateLowResolution`); 1 for all.
    noise
        Standard deviation of Gaussian noise, 0 or above, of a full scale of 1
        (:class:`monai.transforms.RandGaussianNoise`); 0 for none.
    seed
        Seed of shading and noise.

    Raises
    ------
    ValueError
        A setting is out of range.
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
        """Pictures in [0, 1], (N, C, H, W) -> (N, C, H, W); N pictures are slices of one volume, shaded as one."""
        values = plain_tensor(pictures).float()
        volume = values.transpose(0, 1)
        random = np.random.RandomState(self._seed_of(values))
        if self.contrast != 1:
            volume = AdjustContrast(self.contrast)(volume)
        if self.bias_field:
            volume = self._shaded(plain_tensor(volume), random)
        if self.resolution != 1:
            volume = self._resampled(volume)
        if self.noise:
            noise = RandGaussianNoise(prob=1, std=self.noise, sample_std=False)
            volume = noise.set_random_state(state=random)(volume)
        return with_metadata_of(pictures, plain_tensor(volume).transpose(0, 1).clamp(0, 1).contiguous())

    def _shaded(self, volume: torch.Tensor, random: np.random.RandomState) -> torch.Tensor:
        """As bright on average as it was: a scanner's receiver is adjusted to the image."""
        field = RandBiasField(prob=1, coeff_range=(-self.bias_field, self.bias_field)).set_random_state(state=random)
        single = volume.shape[1] == 1  # a picture has no field across it
        shaded = plain_tensor(field(volume[:, 0])[:, None] if single else field(volume))
        return shaded * (volume.mean() / shaded.mean().clamp(min=torch.finfo(shaded.dtype).tiny))

    def _resampled(self, volume: torch.Tensor) -> torch.Tensor:
        """Slice by slice: a scanner's matrix, whatever the distance of the slices."""
        zoom = (self.resolution, self.resolution)
        low = RandSimulateLowResolution(prob=1, downsample_mode="area", upsample_mode="bilinear", zoom_range=zoom)
        resampled: torch.Tensor = plain_tensor(low(plain_tensor(volume).flatten(0, 1)))
        return resampled.unflatten(0, volume.shape[:2])

    def _seed_of(self, values: torch.Tensor) -> int:
        digest = hashlib.sha256(f"{self.seed} {tuple(values.shape)} ".encode())
        digest.update(values.contiguous().cpu().numpy().tobytes())
        return int.from_bytes(digest.digest()[:4], "big")
