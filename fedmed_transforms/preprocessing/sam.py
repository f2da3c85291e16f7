"""What SAM eats, and what it answers: pictures and labels to its square, its logits back to the pictures' size.

SAM (Kirillov et al., arXiv 2304.02643, package segment_anything) scales a picture's longest side to its square and
pads the square to the right and below.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from torch.nn import functional

from fedmed_transforms.image_metadata import file_of, plain_tensor, with_metadata_of

SAM_MEAN = (123.675, 116.28, 103.53)
"""Mean of SAM's training pictures by channel, of values from 0 to 255 (Sam.pixel_mean of segment_anything)."""

SAM_STD = (58.395, 57.12, 57.375)
"""Standard deviation of SAM's training pictures by channel, likewise."""

PICTURE_SIZE = "picture_size"
"""Entry of the metadata: (rows, columns) of a picture before it was scaled for SAM."""


class SamPreprocess(Transform):
    """Scales the longest side to SAM's size (bilinear, antialiased), normalises by channel, pads with zeros.

    The same as segment_anything's preprocessing of a float tensor; its path of 8-bit pictures rounds to 8 bits after
    the scaling, which moves a value by up to 1/255 of the range.

    Parameters
    ----------
    image_size
        Side S of SAM's square input, in pixels.
    normalize
        Whether to normalise as SAM was trained. FedFMS's published code (arXiv 2403.05408) leaves pictures in [0, 1].
    """

    def __init__(self, image_size: int = 1024, normalize: bool = True) -> None:
        self.image_size = _positive("image_size", image_size)
        self.normalize = normalize

    def __call__(self, pictures: torch.Tensor) -> MetaTensor:
        """Pictures in [0, 1], (N, 1 or 3, H, W) -> (N, 3, S, S), which remember H and W for :class:`SamPostprocess`.

        One picture (1 or 3, H, W) becomes (3, S, S).

        Raises
        ------
        ValueError
            The pictures have another number of dimensions or channels; the message names their file.
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
        square = functional.pad(scaled.expand(-1, 3, -1, -1), padding)
        meta = dict(pictures.meta) if isinstance(pictures, MetaTensor) else {}
        return MetaTensor(square, meta={**meta, PICTURE_SIZE: size})


class SamPreprocessd(MapTransform):
    """Dictionary form of :class:`SamPreprocess`."""

    def __init__(
        self, keys: KeysCollection, image_size: int = 1024, normalize: bool = True, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.preprocess = SamPreprocess(image_size, normalize)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Preprocesses every key's pictures."""
        return {**data, **{key: self.preprocess(data[key]) for key in self.key_iterator(data)}}


class SamLabels(Transform):
    """Takes labels to the square of SAM's logits, where its pictures' square has them: by the nearest pixel.

    Each pixel of the result is that of the label which lies under its centre; the padding is zero.

    Parameters
    ----------
    image_size
        Side of SAM's square input, in pixels.
    label_size
        Side L of the result; SAM's logits have a quarter of `image_size`, which None stands for.
    """

    def __init__(self, image_size: int = 1024, label_size: int | None = None) -> None:
        self.image_size = _positive("image_size", image_size)
        self.label_size = _positive("label_size", image_size // 4 if label_size is None else label_size)

    def __call__(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels of any type, (N, C, H, W) -> (N, C, L, L); those of one picture, (C, H, W) -> (C, L, L).

        Raises
        ------
        ValueError
            The labels have another number of dimensions; the message names their file.
        """
        if labels.ndim == 3:
            return self(labels[None])[0]
        if labels.ndim != 4:
            raise ValueError(f"{file_of(labels)}: expected labels (N, C, H, W), found shape {tuple(labels.shape)}")
        values = plain_tensor(labels)
        size = (int(labels.shape[2]), int(labels.shape[3]))
        for axis, (side, scaled) in enumerate(zip(size, scaled_size(size, self.image_size), strict=True), start=2):
            values = values.index_select(axis, self._nearest(side, scaled, values.device))
        return with_metadata_of(
            labels, functional.pad(values, (0, self.label_size - values.shape[3], 0, self.label_size - values.shape[2]))
        )

    def _nearest(self, side: int, scaled: int, device: torch.device) -> torch.Tensor:
        """Places of the label along an axis, of those pixels of the result whose centre is not in the padding."""
        centres = (2 * torch.arange(self.label_size, device=device) + 1) * self.image_size  # times 2 L: whole numbers
        inside = centres[centres < 2 * self.label_size * scaled]
        return inside * side // (2 * self.label_size * scaled)


class SamLabelsd(MapTransform):
    """Dictionary form of :class:`SamLabels`."""

    def __init__(
        self,
        keys: KeysCollection,
        image_size: int = 1024,
        label_size: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scale = SamLabels(image_size, label_size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes every key's labels to SAM's square."""
        return {**data, **{key: self.scale(data[key]) for key in self.key_iterator(data)}}


class SamPostprocess(Transform):
    """Takes SAM's logits to the size of the pictures: scales to SAM's square, cuts the padding off, scales back.

    The same as ``Sam.postprocess_masks`` of segment_anything.

    Parameters
    ----------
    image_size
        Side of SAM's square input, in pixels.
    """

    def __init__(self, image_size: int = 1024) -> None:
        self.image_size = _positive("image_size", image_size)

    def __call__(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Logits (N, C, L, L) of the whole square -> (N, C, H, W) with `size` = (H, W).

        Raises
        ------
        ValueError
            The logits are no squares; the message names their file.
        """
        if logits.ndim != 4 or logits.shape[2] != logits.shape[3]:
            raise ValueError(f"{file_of(logits)}: expected logits (N, C, L, L), found shape {tuple(logits.shape)}")
        square = functional.interpolate(plain_tensor(logits), (self.image_size, self.image_size), mode="bilinear")
        rows, columns = scaled_size(size, self.image_size)
        unpadded = square[:, :, :rows, :columns]
        return with_metadata_of(logits, functional.interpolate(unpadded, tuple(size), mode="bilinear"))


class SamPostprocessd(MapTransform):
    """Dictionary form of :class:`SamPostprocess`; `source_key` holds what :class:`SamPreprocess` made of the pictures.

    Raises
    ------
    ValueError
        The source does not remember its pictures' size.
    """

    def __init__(
        self, keys: KeysCollection, source_key: str, image_size: int = 1024, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.postprocess = SamPostprocess(image_size)
        self.source_key = source_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Takes every key's logits to the size of the pictures."""
        source = data[self.source_key]
        if not isinstance(source, MetaTensor) or PICTURE_SIZE not in source.meta:
            raise ValueError(f"{file_of(source)}: found no {PICTURE_SIZE!r} in the metadata, expected SAM's input")
        size = source.meta[PICTURE_SIZE]
        return {**data, **{key: self.postprocess(data[key], size) for key in self.key_iterator(data)}}


def scaled_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Rows and columns of a picture after its longest side was scaled, rounded as segment_anything does."""
    rows, columns = (max(1, int(side * (longest / max(size)) + 0.5)) for side in size)
    return rows, columns


def _positive(name: str, pixels: int) -> int:
    if pixels < 1:
        raise ValueError(f"{name}: expected a positive number of pixels, found {pixels}")
    return int(pixels)
