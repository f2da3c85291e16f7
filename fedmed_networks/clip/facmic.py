"""FACMIC: a feature attention, and the classifier that applies it to the features of a frozen CLIP."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fedmed_networks.clip.foundation import PUBLISHED
from fedmed_networks.clip.zero_shot import ZeroShotCLIP


class FeatureAttention(nn.Sequential):
    """Computes a weight for every element of a feature vector: a(v) = softmax(W2 LeakyReLU(BatchNorm(W1 v))).

    The layers have the positions ``0`` (Linear), ``1`` (BatchNorm1d), ``2`` (LeakyReLU), ``3`` (Linear) and
    ``4`` (Softmax), so that the names of the parameters are those of the published weights.

    Parameters
    ----------
    dim
        Length D of a feature vector. D = 512 gives 526,336 parameters.

    Notes
    -----
    Source: Wu et al., "FACMIC: Federated Adaptive CLIP Model for Medical Image Classification", arXiv 2410.14707,
    section 2.2.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FeatureAttention
    >>> attention = FeatureAttention(512)(torch.rand(4, 512))
    >>> torch.allclose(attention.sum(dim=1), torch.ones(4))
    True
    """

    def __init__(self, dim: int) -> None:
        super().__init__(
            nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.LeakyReLU(), nn.Linear(dim, dim), nn.Softmax(dim=1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (B, D) -> (B, D), every row sums to 1
        """Computes the attention of each feature; :class:`FACMIC` multiplies the feature by it.

        Parameters
        ----------
        features
            (B, D) float tensor.

        Returns
        -------
        torch.Tensor
            (B, D), non-negative; every row sums to one.
        """
        for layer in self:
            features = layer(features)  # (B, D)
        return features


class FACMIC(ZeroShotCLIP):
    """Classifies pictures by the cosine between adapted CLIP features and the embeddings of class prompts.

    The image encoder f is frozen, and all networks of the process with the same CLIP share it. The feature attention a
    belongs to this network alone. The adapted feature is h(x) = a(f(x)) * f(x), L2-normalised. The logits are
    exp(logit_scale) times the cosine of h(x) and the embedded prompt ``a picture of a {class}`` of each class. The
    prompts are embedded once, on construction: the text encoder is no part of this module or of its checkpoints.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits.
    clip, weights
        The foundation, see :func:`fedmed_networks.clip.foundation.shared_clip`.
    attention
        From the length D of a feature to the module that computes a(f): (B, D) -> (B, D).

    Raises
    ------
    ValueError
        Fewer than two classes, a class named twice, an unknown CLIP, weights that do not fit.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, section 2.2.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FACMIC
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> FACMIC(["benign", "malignant"], clip)(torch.rand(4, 3, 16, 16)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str | Mapping[str, Any] = PUBLISHED,
        weights: str | Path | None = None,
        attention: Callable[[int], nn.Module] = FeatureAttention,
    ) -> None:
        super().__init__(class_names, clip, weights)
        self.attention = attention(self.prompts.shape[1])

    def adapt(self, features: torch.Tensor) -> torch.Tensor:
        """Computes the adapted features h = a(f) * f of CLIP features f, L2-normalised: (B, D) -> (B, D)."""
        return functional.normalize(self.attention(features) * features, dim=1)
