"""FedU-Net: a U-Net for slices, without a foundation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks.nets import UNet
from torch.nn import functional

from fedmed_networks.slice_network import STRIDE, SliceNetwork
from fedmed_networks.weights import plain

WIDTHS = (16, 32, 64, 128, 256)
"""Channels of the five levels; each has half the side of the level above it."""

DEEPEST = 2 ** (len(WIDTHS) - 1)
"""Ratio of the side of the highest level to the side of the deepest level."""

Norm = str | Sequence[str | Mapping[str, Any]]


class FedUNet(SliceNetwork):
    """Segments images with MONAI's U-Net with residual units; every parameter trains, from torch's random numbers.

    The U-Net gets the image at the size of the logits: means of 4 x 4 pixels, padded with zeros to the right and below
    to a multiple of 16. Its output is cropped to the image.

    Parameters
    ----------
    num_classes
        Channels C of the logits.
    image_size
        Side S of the images in pixels, a multiple of 4.
    precision
        ``float32``, or ``bfloat16`` for torch's autocast within the network; parameters and logits are float32.
    norm
        The normalisations by their names in MONAI: ``batch``, with parameters and statistics that are exchanged or stay
        at their sites (:class:`fedmed_workflows.aggregation.FedBN`); ``instance``, without parameters, as in the code
        of FedFMS; or a name with its arguments, ``["instance", {"affine": True}]``.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the normalisation is not known.

    Notes
    -----
    Sources: Ronneberger et al., "U-Net", arXiv 1505.04597; residual units as in Kerfoot et al., 2019,
    doi 10.1007/978-3-030-12029-0_40. A baseline of Liu et al., "FedFMS", arXiv 2403.05408, with levels of the same
    width. The code of FedFMS applies the sigmoid twice, in the network and in the loss; here only the loss applies it.
    1.6 M parameters. ``load_state_dict`` refuses the same states as :class:`fedmed_networks.FedSAM`.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FedUNet
    >>> FedUNet(num_classes=2, image_size=64)(torch.rand(1, 3, 64, 64)).shape
    torch.Size([1, 2, 16, 16])
    """

    foundation_weights = None  # the record of a run states that there is no foundation

    def __init__(
        self, num_classes: int = 1, image_size: int = 1024, precision: str = "float32", norm: Norm = "batch"
    ) -> None:
        super().__init__(num_classes, image_size, precision)
        if image_size < STRIDE or image_size % STRIDE:
            raise ValueError(f"image_size: expected a multiple of {STRIDE} pixels, found {image_size}")
        self.side = image_size // STRIDE
        # at least two pixels on the deepest level: with one pixel a batch of one image has no variance
        self.padding = max(2, -(-self.side // DEEPEST)) * DEEPEST - self.side
        self.unet = _unet(num_classes, norm)

    def _answer(self, pixels: torch.Tensor) -> torch.Tensor:
        small = functional.avg_pool2d(pixels, STRIDE)  # (B, 3, S / 4, S / 4)
        padded = functional.pad(small, (0, self.padding, 0, self.padding))
        return self.unet(padded)[:, :, : self.side, : self.side]  # (B, C, S / 4, S / 4)


def _unet(num_classes: int, norm: Norm) -> UNet:
    try:
        return UNet(2, 3, num_classes, WIDTHS, (2,) * (len(WIDTHS) - 1), num_res_units=2, norm=plain(norm))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"norm: expected a normalisation of MONAI's networks, found {norm!r}: {error}") from error
