"""The contrastive loss of image-prompt pairs, as CLIP trains with and FACMIC fine-tunes with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


class ContrastiveLoss(nn.Module):
    """Cross-entropy of every image against all prompts of the batch, and of every prompt against all images.

    With logits L = s H T^t the loss is 1/2 [CE(L, 0..B-1) + CE(L^t, 0..B-1)]. Two images of one class count as
    negatives of each other: that is the published method.

    Parameters
    ----------
    cross_entropy
        ``(logits (B, B), positions (B,)) -> scalar``: what stands in the place of CE; None for torch's.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, equation 2; Radford et al., arXiv 2103.00020, figure 3.
    """

    def __init__(self, cross_entropy: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.cross_entropy = cross_entropy or functional.cross_entropy

    def forward(self, features: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
        """The loss of a batch.

        Parameters
        ----------
        features
            (B, D) adapted image features, L2-normalised rows.
        prompts
            (B, D) embedding of each image's class prompt, L2-normalised rows.
        scale
            exp(logit_scale).

        Returns
        -------
        torch.Tensor
            A scalar.
        """
        logits = scale * features @ prompts.t()  # (B, B)
        pairs = torch.arange(len(logits), device=logits.device)
        return (self.cross_entropy(logits, pairs) + self.cross_entropy(logits.t(), pairs)) / 2
