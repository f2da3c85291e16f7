"""Networks whose answer is known, which test bundles name as their ``network_def``."""

from __future__ import annotations

import torch
from torch import nn


class Bright(nn.Module):
    """A network of SAM's form: one class, a logit above zero where the picture is brighter than a half."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.0))  # the checkpoint says a half: without it all is bright

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) in [0, 1] -> (N, 1, S, S): finer than SAM's, so that nothing is rounded off at corners."""
        return image[:, :1] - self.threshold
