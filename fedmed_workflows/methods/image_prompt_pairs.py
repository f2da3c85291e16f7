"""A training step of image-prompt pairs, and nothing besides: methods that adapt to no target."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from torch import nn

from fedmed_workflows.methods.contrastive import ContrastiveLoss


class Pairs(NamedTuple):
    """What the loss of a batch of image-prompt pairs needs."""

    features: torch.Tensor  # (B, D), normalised
    prompts: torch.Tensor  # (C, D), of every class, normalised
    scale: torch.Tensor


class PairInferer(Inferer):
    """The forward pass of a training step whose encoder trains: features of pictures, prompts of classes."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Pairs:
        """One step.

        Parameters
        ----------
        inputs
            (B, 3, S, S) pictures of the site.
        network
            A :class:`fedmed_networks.clip.prompted_classifier.PromptedClassifier`.
        """
        return Pairs(network.adapt(network.encode(inputs)), network.prompts, network.scale)


class PairLoss(nn.Module):
    """Contrastive loss of every picture and the prompt of its class.

    Parameters
    ----------
    contrastive
        ``(features (B, D), prompts (B, D), scale) -> scalar``; None for
        :class:`fedmed_workflows.ContrastiveLoss`.
    """

    def __init__(self, contrastive: nn.Module | None = None) -> None:
        super().__init__()
        self.contrastive = contrastive or ContrastiveLoss()

    def forward(self, step: Pairs, labels: torch.Tensor) -> torch.Tensor:
        """The loss of what :class:`PairInferer` returned and the pictures' integer labels (B,), a scalar."""
        loss: torch.Tensor = self.contrastive(step.features, step.prompts[labels], step.scale)
        return loss
