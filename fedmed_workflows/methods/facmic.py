"""What a training step of FACMIC computes: the forward pass of a source and a target batch, and the loss of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from torch import nn
from torch.nn import functional

from fedmed_workflows.methods.contrastive import ContrastiveLoss
from fedmed_workflows.methods.lmmd import LMMDLoss


class Adaptation(NamedTuple):
    """What the loss of FACMIC needs of a step."""

    source: torch.Tensor  # (B, D) adapted, normalised
    target: torch.Tensor | None  # (T, D) raw CLIP features, normalised
    target_probabilities: torch.Tensor | None  # (T, C), no gradient
    prompts: torch.Tensor  # (C, D), normalised
    scale: torch.Tensor


class FeatureInferer(Inferer):
    """Logits of pictures (B, 3, S, S), or of their features (B, D) where the encoder ran already."""

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, 3, S, S) or (B, D) -> (B, C)."""
        logits: torch.Tensor = network.classify(features_of(inputs, network))
        return logits


class AdaptationInferer(Inferer):
    """The forward pass of a training step: the source through the attention, then the target, in this order.

    Both pass the attention in training mode, so both move its BatchNorm statistics; the target carries no gradient.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, algorithm 1.
    """

    def __call__(
        self, inputs: torch.Tensor, network: Any, target: torch.Tensor | None = None, **kwargs: Any
    ) -> Adaptation:
        """One step.

        Parameters
        ----------
        inputs
            (B, 3, S, S) pictures or (B, D) CLIP features of the site.
        network
            A :class:`fedmed_networks.FACMIC`.
        target
            (T, 3, S, S) pictures or (T, D) CLIP features of the target, or None to train without adaptation.
        """
        source = network.adapt(features_of(inputs, network))
        if target is None:
            return Adaptation(source, None, None, network.prompts, network.scale)
        with torch.no_grad():
            raw = features_of(target, network)
            probabilities = network.classify(raw).softmax(dim=1)
        return Adaptation(source, functional.normalize(raw, dim=1), probabilities, network.prompts, network.scale)


class FACMICLoss(nn.Module):
    """Contrastive loss of the source, plus the LMMD between source and target where there is a target.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, equation 6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.contrastive = ContrastiveLoss()
        self.lmmd = LMMDLoss()

    def forward(self, step: Adaptation, labels: torch.Tensor) -> torch.Tensor:
        """The loss of what :class:`AdaptationInferer` returned and the source's integer labels (B,), a scalar."""
        loss: torch.Tensor = self.contrastive(step.source, step.prompts[labels], step.scale)
        if step.target is None or step.target_probabilities is None:
            return loss
        return loss + self.lmmd(step.source, step.target, labels, step.target_probabilities)


def features_of(inputs: torch.Tensor, network: Any) -> torch.Tensor:
    """CLIP features (B, D) of pictures (B, 3, S, S); features are passed on as they are."""
    if inputs.ndim == 2:
        return inputs
    with torch.no_grad():
        features: torch.Tensor = network.encode(inputs)
    return features
