"""The feature attention of FACMIC: the only part of the network that trains, and the only part that travels."""

import torch
from torch import nn


class FeatureAttention(nn.Sequential):
    """Weights every element of a feature vector: a(v) = softmax(W2 LeakyReLU(BatchNorm(W1 v))).

    The layers keep the positions ``0`` (Linear), ``1`` (BatchNorm1d), ``2`` (LeakyReLU), ``3`` (Linear) and
    ``4`` (Softmax), so that the names of the parameters are those of the published weights.

    Parameters
    ----------
    dim
        Length D of a feature vector. D = 512 gives 526,336 parameters.

    Notes
    -----
    Source: Wu et al., "FACMIC: Federated Adaptive CLIP Model for Medical Image Classification", arXiv 2410.14707,
    section 2.2.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(
            nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.LeakyReLU(), nn.Linear(dim, dim), nn.Softmax(dim=1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (B, D) -> (B, D), every row sums to 1
        """Attention of each feature, before it multiplies the feature.

        Parameters
        ----------
        features
            (B, D) float tensor.

        Returns
        -------
        torch.Tensor
            (B, D), non-negative, every row sums to one.
        """
        for layer in self:
            features = layer(features)
        return features
