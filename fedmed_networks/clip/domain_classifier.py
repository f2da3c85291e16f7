"""The domain classifier of FAA-CLIP, which separates source and target features, and the reversed gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

HIDDEN = 512
"""Width of the hidden layers, as published."""


class DomainClassifier(nn.Sequential):
    """Separates source from target features: Linear D -> 512, BatchNorm, ReLU, 512 -> 512, BatchNorm, ReLU, 512 -> 1.

    Parameters
    ----------
    dim
        Length D of a feature vector.

    Notes
    -----
    Source: Wu et al., "FAA-CLIP: Federated Adversarial Adaptation of CLIP", arXiv 2503.05776. The loss computes the
    sigmoid at its end.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(
            nn.Linear(dim, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, 1),
        )  # fmt: skip

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Computes the logits of features to belong to the source: (B, D) -> (B,)."""
        logits: torch.Tensor = super().forward(features)  # (B, 1)
        return logits.squeeze(1)


def reverse_gradient(features: torch.Tensor) -> torch.Tensor:
    """Returns the features unchanged; the backward pass changes the sign of their gradient.

    Notes
    -----
    Source: Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", arXiv 1409.7495, with lambda 1.
    """
    reversed_: torch.Tensor = _Reversal.apply(features)
    return reversed_


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor) -> torch.Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return -gradients[0]
