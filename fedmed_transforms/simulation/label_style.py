"""Simulates the labels of another annotator: wider or narrower, with smoother boundaries."""

from __future__ import annotations

import torch
from monai.transforms import GaussianSmooth, Transform
from monai.transforms.utils_morphological_ops import dilate, erode

from fedmed_transforms.image_metadata import plain_tensor, with_metadata_of


class LabelStyle(Transform):
    """Dilates or erodes labels and smooths their boundaries, slice by slice like an annotator.

    Each channel is changed separately: a channel inside another channel stays inside.

    Parameters
    ----------
    dilation
        Pixels by which a square grows a label on every side (above 0) or shrinks it (below 0). A label that is too
        small to shrink disappears.
    smoothing
        Standard deviation in pixels, 0 or above, of a Gaussian; pixels of at least one half stay in the label.

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> import torch
    >>> from fedmed_transforms import LabelStyle
    >>> label = torch.nn.functional.pad(torch.ones(1, 1, 4, 4), (6, 6, 6, 6))  # a square of 16 pixels
    >>> LabelStyle(dilation=1)(label).sum()
    tensor(36.)
    """

    def __init__(self, dilation: int = 0, smoothing: float = 0.0) -> None:
        if dilation != int(dilation):
            raise ValueError(f"dilation: found {dilation}, expected a whole number of pixels")
        if not 0 <= smoothing < float("inf"):
            raise ValueError(f"smoothing: found {smoothing}, expected 0 or a number of pixels above")
        self.dilation, self.smoothing = int(dilation), smoothing

    def __call__(self, labels: torch.Tensor) -> torch.Tensor:
        """Changes labels of 0 and 1, (N, n, H, W) -> (N, n, H, W) of the same type."""
        masks = plain_tensor(labels).float().flatten(0, 1)  # (N n, H, W)
        if self.dilation:
            change = dilate if self.dilation > 0 else erode
            masks = change(masks[:, None], 2 * abs(self.dilation) + 1)[:, 0]  # (N n, H, W)
        if self.smoothing:
            masks = (plain_tensor(GaussianSmooth(self.smoothing)(masks)) >= 0.5).float()
        return with_metadata_of(labels, masks.unflatten(0, labels.shape[:2]).to(labels.dtype))
