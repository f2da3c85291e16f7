"""Inferers for evaluation: slice by slice for segmentation, and pooled over pictures for classification."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from fedmed_networks.settings import check_number
from fedmed_transforms.image_metadata import file_of
from fedmed_transforms.preprocessing.sam import SamPreprocess
from fedmed_transforms.preprocessing.sam_masks import SamPostprocess
from fedmed_transforms.preprocessing.slices import SLICES, SlicesToVolume, VolumeToSlices

PICTURES_A_PASS = 32
"""Number of pictures of a volume in one pass of the network."""

CUT_TOGETHER = 16
"""Least number of slices that are cut from a volume at once: as many values of float32 lie in a line of a CPU's cache.
"""


class SlicewiseInferer(Inferer):
    """Segments images of any size with a network that has the input and output of SAM, slice by slice.

    A volume is cut into slices, and each slice is scaled to SAM's square input. The logits are scaled back and
    assembled in the geometry of the volume. A picture is a volume of one slice.

    Parameters
    ----------
    image_size
        Side of SAM's square input, in pixels.
    normalize
        As for :class:`fedmed_transforms.SamPreprocess`.
    neighbours
        As for :class:`fedmed_transforms.VolumeToSlices`.
    slices_a_pass
        Number of slices in one pass of the network.
    threshold
        The least probability (sigmoid of the logit) of a pixel of a mask. With it the result is masks of 0 and 1,
        uint8, which hold a quarter of the logits' memory; None gives the logits.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import SlicewiseInferer
    >>> network = lambda slices: slices[:, :2, ::4, ::4]  # (N, 3, S, S) -> (N, 2, S / 4, S / 4)
    >>> SlicewiseInferer(image_size=32)(torch.rand(1, 1, 20, 24, 5), network).shape
    torch.Size([1, 2, 20, 24, 5])
    """

    def __init__(
        self,
        image_size: int = 1024,
        normalize: bool = True,
        neighbours: bool = False,
        slices_a_pass: int = 4,
        threshold: float | None = None,
    ) -> None:
        super().__init__()
        check_number("slices_a_pass", slices_a_pass, least=1, whole=True)
        if threshold is not None:
            check_number("threshold", threshold, least=0, most=1)
        self.cut, self.put_back = VolumeToSlices(neighbours), SlicesToVolume()
        self.preprocess, self.postprocess = SamPreprocess(image_size, normalize), SamPostprocess(image_size)
        self.slices_a_pass, self.threshold = slices_a_pass, threshold

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Computes the logits, or the masks, of images.

        Parameters
        ----------
        inputs
            (B, 1 or 3, X, Y) pictures or (B, 1 or 3, X, Y, Z) volumes, in [0, 1].
        network
            (N, 3, S, S) -> (N, C, S / 4, S / 4) logits.

        Returns
        -------
        torch.Tensor
            (B, C, X, Y) or (B, C, X, Y, Z) logits or masks, with the affine and the metadata of the inputs.

        Raises
        ------
        ValueError
            An image has unsupported dimensions or channels, or fewer slices than the network needs.
        """
        volumes = [self._segment(image, network, *args, **kwargs).as_tensor() for image in inputs]
        results = torch.stack(volumes) if len(volumes) > 1 else volumes[0][None]  # stacking one copies it
        return MetaTensor(results).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else results

    def _segment(self, image: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> MetaTensor:
        if image.shape[0] not in (1, 3):
            raise ValueError(f"{file_of(image)}: found {image.shape[0]} channels, expected 1 or 3")
        slices, results = self.cut.uncut(image), None  # (0, 1 or 3, H, W)
        size = (int(slices.shape[2]), int(slices.shape[3]))
        count = len(slices.meta[SLICES]["kept"])
        for first, part in self._parts(image, count):
            found = self._answer(network(self.preprocess(part).as_tensor(), *args, **kwargs), size)
            if results is None:
                results = found.new_empty((count, *found.shape[1:]))
            results[first : first + len(found)] = found
        assert results is not None  # an image has a slice at least
        return self.put_back(results, slices)  # (N, C, H, W) -> (C, X, Y[, Z])

    def _parts(self, image: torch.Tensor, count: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Cuts the slices of one pass after the other; yields the position of the first slice, and the slices."""
        together = self.slices_a_pass * max(1, CUT_TOGETHER // self.slices_a_pass)
        for begin in range(0, count, together):
            slices = self.cut(image, range(begin, min(begin + together, count))).as_tensor()
            for number, part in enumerate(slices.split(self.slices_a_pass)):
                yield begin + number * self.slices_a_pass, part

    def _answer(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Scales the logits of a pass to the slices' size, and compares them with the threshold if there is one."""
        scaled = self.postprocess(logits, size)
        return scaled if self.threshold is None else (scaled.sigmoid() >= self.threshold).to(torch.uint8)


class PooledInferer(Inferer):
    """Computes the logits of an image from the logits of its pictures.

    The logits of a single picture are returned unchanged. The results of several pictures (the slices of a volume) are
    pooled: the logits of the image are the logarithm of the mean class probabilities, so that their softmax is the
    mean.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import PooledInferer
    >>> network = lambda pictures: pictures.mean(dim=(2, 3))  # (N, 3, S, S) -> (N, 3)
    >>> PooledInferer()(torch.rand(2, 5, 3, 8, 8), network).shape
    torch.Size([2, 3])
    """

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Scores a batch of images.

        Parameters
        ----------
        inputs
            (B, 3, S, S) for one picture per image, or (B, N, 3, S, S) for N pictures per image.
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
        return torch.stack([self._pool(pictures, network, *args, **kwargs) for pictures in inputs])  # (B, C)

    def _pool(self, pictures: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        logits = torch.cat([network(part, *args, **kwargs) for part in pictures.split(PICTURES_A_PASS)])  # (N, C)
        return logits[0] if len(logits) == 1 else logits.softmax(dim=1).mean(dim=0).log()
