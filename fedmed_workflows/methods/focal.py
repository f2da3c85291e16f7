"""FedFocal's loss: the cross-entropy with smoothed labels, less of it where the network is sure."""

from __future__ import annotations

import torch
from monai.losses import FocalLoss
from torch import nn
from torch.nn import functional

from fedmed_networks.settings import check_number


class SmoothedFocalLoss(nn.Module):
    """Focal loss of logits against labels that are smoothed.

    With p = softmax(logits) of a row, N its length, and q = (1 - label_smoothing) [the label's] + label_smoothing / N,
    the loss of the row is -sum q (1 - p)^gamma log p; the loss is the mean of the rows. With gamma = 0 it is the
    cross-entropy with smoothed labels, without smoothing the focal loss.

    Parameters
    ----------
    gamma
        0 or more.
    label_smoothing
        In [0, 1).

    Raises
    ------
    ValueError
        A parameter is out of its range.

    Notes
    -----
    Source: Lin et al., "Focal loss for dense object detection", arXiv 1708.02002, equation 4; Sarkar et al.,
    "Fed-Focal loss for imbalanced data classification in federated learning", arXiv 2011.06283. Settings of
    Wu et al., arXiv 2410.14707.
    """

    def __init__(self, gamma: float = 1.0, label_smoothing: float = 0.1) -> None:
        super().__init__()
        check_number("gamma", gamma, least=0)
        check_number("label_smoothing", label_smoothing, least=0, below=1)
        self.label_smoothing = label_smoothing
        self.focal = FocalLoss(gamma=gamma, use_softmax=True, reduction="none")

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of logits (B, N) and integer labels (B,), a scalar."""
        count = logits.shape[1]
        hard = functional.one_hot(labels, count).to(logits.dtype)
        smooth = hard * (1 - self.label_smoothing) + self.label_smoothing / count
        loss: torch.Tensor = self.focal(logits, smooth).sum(dim=1).mean()
        return loss
