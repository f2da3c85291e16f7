"""The contrastive loss of image-prompt pairs, with which CLIP is trained and FACMIC fine-tunes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


class ContrastiveLoss(nn.Module):
    """Averages the cross-entropy of every image against all prompts and of every prompt against all images of a batch.

    With logits L = s H T^t the loss is 1/2 [CE(L, 0..B-1) + CE(L^t, 0..B-1)]. Two images of one class count as
    negatives of each other, as in the published method.

    Parameters
    ----------
    cross_entropy
        The cross-entropy CE, ``(logits (B, B), positions (B,)) -> scalar``; None for torch's.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, equation 2; Radford et al., arXiv 2103.00020, figure 3.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import ContrastiveLoss
    >>> ContrastiveLoss()(torch.eye(2), torch.eye(2), scale=1.0)  # log(1 + exp(-1))
    tensor(0.3133)
    """

    def __init__(self, cross_entropy: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.cross_entropy = cross_entropy or functional.cross_entropy

    def forward(self, features: torch.Tensor, prompts: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
        """Computes the loss of a batch.

        Parameters
        ----------
        features
            (B, D) adapted image features, with L2-normalised rows.
        prompts
            (B, D) embeddings of the class prompts of the images, with L2-normalised rows.
        scale
            exp(logit_scale).

        Returns
        -------
        torch.Tensor
            A scalar.
        """
        logits = scale * features @ prompts.t()  # (B, B)
        pairs = torch.arange(len(logits), device=logits.device)  # (B,)
        return (self.cross_entropy(logits, pairs) + self.cross_entropy(logits.t(), pairs)) / 2
