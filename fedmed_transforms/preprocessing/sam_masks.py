"""Scales labels to SAM's logits, and SAM's logits back to the size of the pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from torch.nn import functional

from fedmed_transforms.image_metadata import file_of, plain_tensor, with_metadata_of
from fedmed_transforms.preprocessing.sam import PICTURE_SIZE, checked_size, scaled_size


class SamLabels(Transform):
    """Scales labels to the square of SAM's logits by the nearest pixel, at the positions of the scaled pictures.

    Each pixel of the result has the value of the label pixel under its centre; the padding is zero.

    Parameters
    ----------
    image_size
        Side of SAM's square input, in pixels.
    label_size
        Side L of the result; None stands for the side of SAM's logits, a quarter of `image_size`.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SamLabels
    >>> SamLabels(image_size=256)(torch.ones(2, 1, 100, 80)).shape
    torch.Size([2, 1, 64, 64])
    """

    def __init__(self, image_size: int = 1024, label_size: int | None = None) -> None:
        self.image_size = checked_size("image_size", image_size)
        self.label_size = checked_size("label_size", image_size // 4 if label_size is None else label_size)

    def __call__(self, labels: torch.Tensor) -> torch.Tensor:
        """Scales labels of any type, (N, C, H, W) -> (N, C, L, L), or of one picture, (C, H, W) -> (C, L, L).

        Raises
        ------
        ValueError
            The labels have another number of dimensions; the message names the file.
        """
        if labels.ndim == 3:
            return self(labels[None])[0]
        if labels.ndim != 4:
            raise ValueError(f"{file_of(labels)}: expected labels (N, C, H, W), found shape {tuple(labels.shape)}")
        values = plain_tensor(labels)
        size = (int(labels.shape[2]), int(labels.shape[3]))
        for axis, (side, scaled) in enumerate(zip(size, scaled_size(size, self.image_size), strict=True), start=2):
            values = values.index_select(axis, self._nearest_positions(side, scaled, values.device))
        return with_metadata_of(
            labels, functional.pad(values, (0, self.label_size - values.shape[3], 0, self.label_size - values.shape[2]))
        )

    def _nearest_positions(self, side: int, scaled: int, device: torch.device) -> torch.Tensor:
        """Returns the positions along an axis of the label for the pixels of the result outside the padding."""
        centres = (2 * torch.arange(self.label_size, device=device) + 1) * self.image_size  # times 2 L: whole numbers
        inside = centres[centres < 2 * self.label_size * scaled]
        return inside * side // (2 * self.label_size * scaled)


class SamLabelsd(MapTransform):
    """Scales the labels of a dictionary as :class:`SamLabels` does.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SamLabelsd
    >>> SamLabelsd("label", image_size=256, label_size=128)({"label": torch.ones(1, 100, 80)})["label"].shape
    torch.Size([1, 128, 128])
    """

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
        """Scales the labels of every key to the square of SAM's logits."""
        return {**data, **{key: self.scale(data[key]) for key in self.key_iterator(data)}}


class SamPostprocess(Transform):
    """Scales SAM's logits to the size of the pictures: scales to SAM's square, cuts the padding off, scales back.

    The result equals ``Sam.postprocess_masks`` of segment_anything.

    Parameters
    ----------
    image_size
        Side of SAM's square input, in pixels.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SamPostprocess
    >>> SamPostprocess(image_size=256)(torch.zeros(2, 1, 64, 64), size=(100, 80)).shape
    torch.Size([2, 1, 100, 80])
    """

    def __init__(self, image_size: int = 1024) -> None:
        self.image_size = checked_size("image_size", image_size)

    def __call__(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Scales logits (N, C, L, L) of the whole square -> (N, C, H, W) with `size` = (H, W).

        Raises
        ------
        ValueError
            The logits are no squares; the message names the file.
        """
        if logits.ndim != 4 or logits.shape[2] != logits.shape[3]:
            raise ValueError(f"{file_of(logits)}: expected logits (N, C, L, L), found shape {tuple(logits.shape)}")
        square = functional.interpolate(plain_tensor(logits), (self.image_size, self.image_size), mode="bilinear")
        rows, columns = scaled_size(size, self.image_size)
        unpadded = square[:, :, :rows, :columns]  # (N, C, S, S) without the padding
        return with_metadata_of(logits, functional.interpolate(unpadded, tuple(size), mode="bilinear"))


class SamPostprocessd(MapTransform):
    """Scales the logits of a dictionary as :class:`SamPostprocess` does; `source_key` holds SAM's input.

    Raises
    ------
    ValueError
        The metadata of the source has no size of the pictures.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import SamPostprocessd, SamPreprocess
    >>> data = {"image": SamPreprocess(image_size=256)(torch.rand(2, 1, 100, 80)), "logits": torch.zeros(2, 1, 64, 64)}
    >>> SamPostprocessd("logits", source_key="image", image_size=256)(data)["logits"].shape
    torch.Size([2, 1, 100, 80])
    """

    def __init__(
        self, keys: KeysCollection, source_key: str, image_size: int = 1024, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.postprocess = SamPostprocess(image_size)
        self.source_key = source_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scales the logits of every key to the size of the pictures."""
        source = data[self.source_key]
        if not isinstance(source, MetaTensor) or PICTURE_SIZE not in source.meta:
            raise ValueError(f"{file_of(source)}: found no {PICTURE_SIZE!r} in the metadata, expected SAM's input")
        size = source.meta[PICTURE_SIZE]
        return {**data, **{key: self.postprocess(data[key], size) for key in self.key_iterator(data)}}
