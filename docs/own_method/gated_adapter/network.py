"""The network: a small adapter on the features of a frozen CLIP, and a gate that mixes it in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fedmed_networks import ZeroShotCLIP


class GatedAdapter(ZeroShotCLIP):
    """Classifies pictures by the cosine between the class prompts and g * A(f) + (1 - g) * f.

    f are the features of the frozen CLIP, A is a layer down to `hidden` numbers and a layer back up, g is one number.
    Adapter and gate train and are exchanged; CLIP stays at each site.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str | Mapping[str, Any],
        weights: str | Path | None = None,
        hidden: int = 64,
    ) -> None:
        super().__init__(class_names, clip, weights)
        dim = self.prompts.shape[1]
        self.adapter = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.gate = nn.Parameter(torch.zeros(1))

    def adapt(self, features: torch.Tensor) -> torch.Tensor:
        """Mixes the adapter's answer into the features: (B, D) -> (B, D), every row of length 1."""
        share = self.gate.sigmoid()
        return functional.normalize(share * self.adapter(features) + (1 - share) * features, dim=1)
