"""Scales pictures to the square input of SAM.

SAM (Kirillov et al., arXiv 2304.02643, package segment_anything) scales the longest side of a picture to the side of
its square, and pads the square on the right and at the bottom.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from torch.nn import functional

from fedmed_transforms.image_metadata import file_of, plain_tensor

SAM_MEAN = (123.675, 116.28, 103.53)
"""Mean of SAM's training pictures by channel, for values from 0 to 255 (Sam.pixel_mean of segment_anything)."""

SAM_STD = (58.395, 57.12, 57.375)
"""Standard deviation of SAM's training pictures by channel, for values from 0 to 255 (Sam.pixel_std)."""

PICTURE_SIZE = "picture_size"
"""Entry of the metadata: (rows, columns) of a picture before it was scaled for SAM."""


class SamPreprocess(Transform):
    """Scales the longest side to SAM's size (bilinear, antialiased), normalises by channel, pads with zeros.

    The result equals segment_anything's preprocessing of a float tensor. For 8-bit pictures segment_anything rounds to
    8 bits after the scaling; this moves a value by up to 1/255 of the range.

    Parameters
    ----------
    image_size
        Side S of SAM's square input, in pixels.
    normalize
        Whether to normalise as in SAM's training. FedFMS's published code (arXiv 2403.05408) leaves pictures in [0, 1].

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SamPreprocess
    >>> SamPreprocess(image_size=256)(torch.rand(2, 1, 100, 80)).shape
    torch.Size([2, 3, 256, 256])
    """

    def __init__(self, image_size: int = 1024, normalize: bool = True) -> None:
        self.image_size = checked_size("image_size", image_size)
        self.normalize = normalize

    def __call__(self, pictures: torch.Tensor) -> MetaTensor:
        """Scales pictures in [0, 1], (N, 1 or 3, H, W) -> (N, 3, S, S); the metadata keeps H, W for SamPostprocessd.

        One picture (1 or 3, H, W) becomes (3, S, S).

        Raises
        ------
        ValueError
            The pictures have another number of dimensions or channels; the message names the file.
        """
        if pictures.ndim == 3:
            return self(pictures[None])[0]
        if pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
            found = tuple(pictures.shape)
            raise ValueError(f"{file_of(pictures)}: expected pictures (N, 1 or 3, H, W), found shape {found}")
        size = (int(pictures.shape[2]), int(pictures.shape[3]))
        scaled = functional.interpolate(
            plain_tensor(pictures).float(), scaled_size(size, self.image_size), mode="bilinear", antialias=True
        )
        if self.normalize:
            mean, std = (scaled.new_tensor(values).view(1, 3, 1, 1) / 255 for values in (SAM_MEAN, SAM_STD))
            scaled = (scaled - mean) / std
        rows, columns = scaled.shape[2:]
        padding = (0, self.image_size - columns, 0, self.image_size - rows)
        square = functional.pad(scaled.expand(-1, 3, -1, -1), padding)  # (N, 3, S, S)
        meta = dict(pictures.meta) if isinstance(pictures, MetaTensor) else {}
        return MetaTensor(square, meta={**meta, PICTURE_SIZE: size})


class SamPreprocessd(MapTransform):
    """Preprocesses the pictures of a dictionary as :class:`SamPreprocess` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SamPreprocessd
    >>> SamPreprocessd("image", image_size=256)({"image": torch.rand(3, 100, 80)})["image"].meta["picture_size"]
    (100, 80)
    """

    def __init__(
        self, keys: KeysCollection, image_size: int = 1024, normalize: bool = True, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.preprocess = SamPreprocess(image_size, normalize)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Preprocesses the pictures of every key."""
        return {**data, **{key: self.preprocess(data[key]) for key in self.key_iterator(data)}}


def scaled_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Returns the rows and columns of a picture with its longest side scaled, rounded as in segment_anything."""
    rows, columns = (max(1, int(side * (longest / max(size)) + 0.5)) for side in size)
    return rows, columns


def checked_size(name: str, pixels: int) -> int:
    """Returns a number of pixels as an integer.

    Raises
    ------
    ValueError
        The number is not positive; the message has the setting's name.
    """
    if pixels < 1:
        raise ValueError(f"{name}: expected a positive number of pixels, found {pixels}")
    return int(pixels)
