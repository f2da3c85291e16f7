"""A linear head on a frozen CLIP's features, blended with the prompts class by class, as in LP++."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedmed_networks.clip.foundation import PUBLISHED
from fedmed_networks.clip.zero_shot import ZeroShotCLIP


class LinearHeadCLIP(ZeroShotCLIP):
    """Classifies pictures by a linear head on CLIP's features, plus each class's own multiple of its prompt's cosine.

    With v = f(x) / |f(x)| and the prompt t_k, the logit of class k is w_k v + b_k + alpha_k (v t_k). W, b and alpha
    train. W and b begin at zero and alpha at exp(logit_scale), so that a new network answers as zero-shot CLIP.

    Parameters
    ----------
    class_names, clip, weights
        As of :class:`fedmed_networks.ZeroShotCLIP`.

    Notes
    -----
    Source: Huang et al., "LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP", arXiv 2404.02285. There W begins
    at the classes' summed training features, and alpha at 250 times the mean cosine of training images to the prompts
    of their classes; here no site is asked for figures of its images before round 1. D = 512 and C classes give 514 C
    parameters.
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
        """Logits of CLIP features: (B, D) -> (B, C)."""
        unit = self.adapt(features)
        return self.head(unit) + self.alpha * (unit @ self.prompts.t())
