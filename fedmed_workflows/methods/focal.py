"""FedFocal's loss: the focal loss of smoothed labels, in which samples with confident answers weigh less."""

from __future__ import annotations

import torch
from monai.losses import FocalLoss
from torch import nn
from torch.nn import functional

from fedmed_networks.settings import check_number


class SmoothedFocalLoss(nn.Module):
    """Computes the focal loss of logits with smoothed labels.

    p = softmax(logits) of a row, N is the length of the row, and q = (1 - label_smoothing) one_hot(label) +
    label_smoothing / N. The loss of the row is -sum q (1 - p)^gamma log p, and the loss is the mean over the rows. With
    gamma = 0 it is the cross-entropy with smoothed labels, with label_smoothing = 0 the focal loss.

    Parameters
    ----------
    gamma
        Exponent of the weight, at least 0.
    label_smoothing
        Share of the label that is spread over all classes, in [0, 1).

    Raises
    ------
    ValueError
        A parameter is out of its range.

    Notes
    -----
    Source: Lin et al., "Focal loss for dense object detection", arXiv 1708.02002, equation 4; Sarkar et al.,
    "Fed-Focal loss for imbalanced data classification in federated learning", arXiv 2011.06283. Settings of
    Wu et al., arXiv 2410.14707.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import SmoothedFocalLoss
    >>> SmoothedFocalLoss(gamma=0.0, label_smoothing=0.0)(torch.zeros(1, 2), torch.tensor([1]))  # log 2
    tensor(0.6931)
    """

    def __init__(self, gamma: float = 1.0, label_smoothing: float = 0.1) -> None:
        super().__init__()
        check_number("gamma", gamma, least=0)
        check_number("label_smoothing", label_smoothing, least=0, below=1)
        self.label_smoothing = label_smoothing
        self.focal = FocalLoss(gamma=gamma, use_softmax=True, reduction="none")

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Computes the loss of logits (B, N) and integer labels (B,), a scalar."""
        count = logits.shape[1]
        hard = functional.one_hot(labels, count).to(logits.dtype)  # (B, N)
        smooth = hard * (1 - self.label_smoothing) + self.label_smoothing / count
        loss: torch.Tensor = self.focal(logits, smooth).sum(dim=1).mean()
        return loss
