"""Inferers of evaluation."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from fedmed_networks.settings import check_number
from fedmed_transforms.image_metadata import file_of
from fedmed_transforms.preprocessing.sam import SamPostprocess, SamPreprocess
from fedmed_transforms.preprocessing.slices import SlicesToVolume, VolumeToSlices


class SlicewiseInferer(Inferer):
    """Segments images of any size with a network of SAM's form; every slice passes the network once.

    A volume is cut into slices, each slice scaled to SAM's square; its logits are scaled back and put into the
    volume's geometry. A picture is a volume of one slice.

    Parameters
    ----------
    image_size
        Side of SAM's square input, in pixels.
    normalize
        As of :class:`fedmed_transforms.SamPreprocess`.
    neighbours
        As of :class:`fedmed_transforms.VolumeToSlices`.
    slices_a_pass
        Slices that go through the network together.
    """

    def __init__(
        self, image_size: int = 1024, normalize: bool = True, neighbours: bool = False, slices_a_pass: int = 4
    ) -> None:
        super().__init__()
        check_number("slices_a_pass", slices_a_pass, least=1, whole=True)
        self.cut, self.put_back = VolumeToSlices(neighbours), SlicesToVolume()
        self.preprocess, self.postprocess = SamPreprocess(image_size, normalize), SamPostprocess(image_size)
        self.slices_a_pass = slices_a_pass

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of images.

        Parameters
        ----------
        inputs
            (B, 1 or 3, X, Y) pictures or (B, 1 or 3, X, Y, Z) volumes, in [0, 1].
        network
            (N, 3, S, S) -> (N, C, S / 4, S / 4) logits.

        Returns
        -------
        torch.Tensor
            (B, C, X, Y) or (B, C, X, Y, Z) logits, with the affine and the metadata of the inputs.

        Raises
        ------
        ValueError
            An image has other dimensions or channels, or lacks the slices that its network needs.
        """
        volumes = [self._segment(image, network, *args, **kwargs) for image in inputs]
        logits = torch.stack([volume.as_tensor() for volume in volumes])
        return MetaTensor(logits).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else logits

    def _segment(self, image: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> MetaTensor:
        if image.shape[0] not in (1, 3):
            raise ValueError(f"{file_of(image)}: found {image.shape[0]} channels, expected 1 or 3")
        slices = self.cut(image)
        size = (int(slices.shape[2]), int(slices.shape[3]))
        parts = [
            self.postprocess(network(self.preprocess(part).as_tensor(), *args, **kwargs), size)
            for part in slices.as_tensor().split(self.slices_a_pass)
        ]
        return self.put_back(torch.cat(parts), slices)


PICTURES_A_PASS = 32
"""Pictures of a volume that go through the network together."""


class PooledInferer(Inferer):
    """Logits of an image from those of its pictures.

    One picture's logits are passed on as they are. Several pictures (a volume's slices) are scored and pooled: the
    answer is the logarithm of their mean class probabilities, whose softmax is that mean.
    """

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Scores a batch of images.

        Parameters
        ----------
        inputs
            (B, 3, S, S), one picture an image; or (B, N, 3, S, S), N pictures an image.
        network
            (N, 3, S, S) -> (N, C).

        Returns
        -------
        torch.Tensor
            (B, C) logits.
        """
        if inputs.ndim == 4:
            logits: torch.Tensor = network(inputs, *args, **kwargs)
            return logits
        return torch.stack([self._pool(pictures, network, *args, **kwargs) for pictures in inputs])

    def _pool(self, pictures: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        logits = torch.cat([network(part, *args, **kwargs) for part in pictures.split(PICTURES_A_PASS)])
        return logits[0] if len(logits) == 1 else logits.softmax(dim=1).mean(dim=0).log()
