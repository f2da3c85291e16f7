"""LP++: a linear head on the features of a frozen CLIP, combined with the class prompts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedmed_networks.clip.foundation import PUBLISHED
from fedmed_networks.clip.zero_shot import ZeroShotCLIP


class LinearHeadCLIP(ZeroShotCLIP):
    """Classifies pictures by a linear head on CLIP's features plus a multiple of the cosine to each class prompt.

    With v = f(x) / |f(x)| and the prompt t_k, the logit of class k is w_k v + b_k + alpha_k (v t_k). W, b and alpha
    train. W and b start at zero and alpha at exp(logit_scale), so that a new network has the logits of zero-shot CLIP.

    Parameters
    ----------
    class_names, clip, weights
        See :class:`fedmed_networks.ZeroShotCLIP`.

    Notes
    -----
    Source: Huang et al., "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP", arXiv 2404.02285. In the paper W
    starts at the summed training features of each class, and alpha at 250 times the mean cosine of training images to
    the prompts of their classes. Here no site computes such values before round 1. D = 512 and C classes give 514 C
    parameters.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import LinearHeadCLIP
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> LinearHeadCLIP(["benign", "malignant"], clip)(torch.rand(4, 3, 16, 16)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self, class_names: Sequence[str], clip: str | Mapping[str, Any] = PUBLISHED, weights: str | Path | None = None
    ) -> None:
        super().__init__(class_names, clip, weights)
        classes, dim = self.prompts.shape
        self.head = nn.Linear(dim, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.alpha = nn.Parameter(self.scale.repeat(classes))

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Computes logits of CLIP features: (B, D) -> (B, C)."""
        unit = self.adapt(features)  # (B, D)
        return self.head(unit) + self.alpha * (unit @ self.prompts.t())
