"""A network whose answer is known."""

from __future__ import annotations

import torch
from torch import nn


class Bright(nn.Module):
    """Stands in for a network of SAM's form: one class, a logit above zero where its input is above one half."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(image[:, :1] - 0.5, 4)
