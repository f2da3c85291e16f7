"""The base of networks that segment slices: shapes of images and logits, precision, and refused states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from monai.data import MetaTensor
from torch import nn

from fedmed_networks.settings import check_number
from fedmed_networks.weights import NAMED, check_state_digest, differing_shapes

STRIDE = 4
"""Ratio of the image's side to the side of the logits."""


class SliceNetwork(nn.Module, ABC):
    """Segments square images; the logits have a quarter of the image's side.

    Parameters
    ----------
    num_classes
        Channels C of the logits.
    image_size
        Side S of the images in pixels.
    precision
        ``float32``, or ``bfloat16`` for torch's autocast within the network; parameters and logits are float32.

    Raises
    ------
    ValueError
        A parameter is out of its range.

    Notes
    -----
    ``load_state_dict`` refuses a state with missing or unknown tensors or with other shapes with a ValueError, also
    with ``strict=False``.
    """

    def __init__(self, num_classes: int, image_size: int, precision: str) -> None:
        super().__init__()
        check_number("num_classes", num_classes, least=1, whole=True)
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected 'float32' or 'bfloat16', found {precision!r}")
        self.num_classes, self.image_size, self.precision = int(num_classes), int(image_size), precision

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Computes logits of images.

        Parameters
        ----------
        image
            (B, 3, S, S), rows downwards, columns to the right, as :class:`fedmed_transforms.SamPreprocessd` gives them.

        Returns
        -------
        torch.Tensor
            (B, C, S / 4, S / 4) logits in float32, one channel per class, one pixel for 4 x 4 pixels of the image.

        Raises
        ------
        ValueError
            The images have another shape.
        """
        if not torch.jit.is_tracing():
            self._check_shape(image)
        # every operation on a MetaTensor would copy the metadata
        pixels = image.as_tensor() if isinstance(image, MetaTensor) else image
        with self._precision(pixels.device.type):
            logits = self._answer(pixels).float()
        return MetaTensor(logits).copy_meta_from(image) if isinstance(image, MetaTensor) else logits

    @abstractmethod
    def _answer(self, pixels: torch.Tensor) -> torch.Tensor:
        """Computes logits of images of the right shape, in the type of the computation."""

    def _precision(self, device_type: str) -> AbstractContextManager[Any]:
        return torch.autocast(device_type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()

    def _check_shape(self, image: torch.Tensor) -> None:
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, self.image_size, self.image_size):
            side = self.image_size
            raise ValueError(f"image: expected shape (B, 3, {side}, {side}), found {tuple(image.shape)}")

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: dict[str, Any], *rest: Any
    ) -> None:
        check_state_digest(state_dict, prefix, metadata)
        self._check_state(
            {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
        )
        super()._load_from_state_dict(state_dict, prefix, metadata, *rest)

    def _check_state(self, found: Mapping[str, torch.Tensor]) -> None:
        """Refuses a part of a state, or the state of another network, also if loading is not strict."""
        expected = self.state_dict()
        lacks, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        shapes = differing_shapes(found, expected)
        if lacks or unknown or shapes:
            faults = {"lacks": lacks, "holds unknown": unknown, "holds tensors of other shapes": shapes}
            text = "; ".join(f"{verb} {names[:NAMED]} ({len(names)} in all)" for verb, names in faults.items() if names)
            raise ValueError(
                f"checkpoint: expected the whole state of a {type(self).__name__} of image_size {self.image_size} with "
                f"num_classes {self.num_classes} ({len(expected)} tensors); it {text}"
            )
