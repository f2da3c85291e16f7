"""Inference of a classifier: a volume's pictures pooled to one answer."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer

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
