"""Prepares pictures as the input of CLIP: CLIP's size, three channels, and the normalisation of its training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor
from torch.nn import functional

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Mean of CLIP's training pictures by channel (Radford et al., arXiv 2103.00020, published code)."""

CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Standard deviation of CLIP's training pictures by channel, from the same source."""


class ClipPreprocess(Transform):
    """Resizes the shorter side to CLIP's size (bicubic, antialiased), crops the centre, normalises by channel.

    The result equals open_clip's preprocessing of a float tensor. For 8-bit pictures open_clip rounds to 8 bits after
    the resizing; this moves a normalised value by 0.005 on average.

    Parameters
    ----------
    image_size
        Side S of CLIP's square input, in pixels.
    mean, std
        One number for each channel; CLIP's numbers by default.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ClipPreprocess
    >>> ClipPreprocess()(torch.rand(5, 1, 320, 256)).shape
    torch.Size([5, 3, 224, 224])
    """

    def __init__(
        self, image_size: int = 224, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD
    ) -> None:
        if image_size < 1:
            raise ValueError(f"image_size: expected a positive number of pixels, found {image_size}")
        self.image_size = int(image_size)
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Prepares pictures in [0, 1], (N, 1 or 3, H, W) -> (N, 3, S, S).

        Raises
        ------
        ValueError
            The pictures have another number of dimensions or channels.
        """
        pictures = convert_to_tensor(pictures, dtype=torch.float32, track_meta=False)
        if pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
            raise ValueError(f"pictures: expected shape (N, 1 or 3, H, W), found {tuple(pictures.shape)}")
        rows, columns = pictures.shape[2:]
        size = [side * self.image_size // min(rows, columns) for side in (rows, columns)]  # rounded as torchvision does
        pictures = functional.interpolate(pictures, size=size, mode="bicubic", antialias=True, align_corners=False)
        top, left = (round((side - self.image_size) / 2) for side in size)
        pictures = pictures[:, :, top : top + self.image_size, left : left + self.image_size].clamp(0, 1)
        mean, std = (pictures.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (pictures.expand(-1, 3, -1, -1) - mean) / std  # (N, 3, S, S)


class ClipPreprocessd(MapTransform):
    """Preprocesses the pictures of a dictionary as :class:`ClipPreprocess` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import ClipPreprocessd
    >>> ClipPreprocessd("image", image_size=32)({"image": torch.rand(5, 3, 40, 48)})["image"].shape
    torch.Size([5, 3, 32, 32])
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_size: int = 224,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.preprocess = ClipPreprocess(image_size, mean, std)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Preprocesses the pictures of every key."""
        return {**data, **{key: self.preprocess(data[key]) for key in self.key_iterator(data)}}
