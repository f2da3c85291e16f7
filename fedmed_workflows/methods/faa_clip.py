"""What a training step of FAA-CLIP computes: FACMIC's, its LMMD replaced by a domain classifier to be fooled."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn
from torch.nn import functional

from fedmed_networks.clip.domain_classifier import DomainClassifier, reverse_gradient
from fedmed_workflows.methods.contrastive import ContrastiveLoss
from fedmed_workflows.methods.facmic import Adaptation, features_of

ADVERSARIAL_WEIGHT = 0.5
"""Weight of the adversarial loss beside the contrastive one, as published."""


class AdversarialInferer(Inferer):
    """The forward pass of a training step: the source through the attention, then the target, without gradient."""

    def __call__(
        self, inputs: torch.Tensor, network: Any, target: torch.Tensor | None = None, **kwargs: Any
    ) -> Adaptation:
        """One step; as :class:`fedmed_workflows.AdaptationInferer` takes it, the target adapted too."""
        source = network.adapt(features_of(inputs, network))
        if target is None:
            return Adaptation(source, None, None, network.prompts, network.scale)
        with torch.no_grad():
            adapted = network.adapt(features_of(target, network))
        return Adaptation(source, adapted, None, network.prompts, network.scale)


class FAACLIPLoss(nn.Module):
    """Contrastive loss of the source, plus half the adversarial loss of source and target where there is a target.

    With the domain classifier's probability p to be the source's, the adversarial loss is the mean of -log p over the
    source and of -log (1 - p) over the target, half of each. Its gradient reaches the attention with the sign changed:
    the classifier learns to tell the two, the attention to make them alike. The classifier belongs to the loss: it
    trains with the network's optimiser, never travels, and is kept with the site's state.

    Parameters
    ----------
    network
        The network that trains, for the length of its features and its device.

    Notes
    -----
    Source: Wu et al., "FAA-CLIP: Federated Adversarial Adaptation of CLIP", arXiv 2503.05776.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.contrastive = ContrastiveLoss()
        self.domain_classifier = DomainClassifier(network.prompts.shape[1]).to(network.prompts.device)

    def forward(self, step: Adaptation, labels: torch.Tensor) -> torch.Tensor:
        """The loss of what :class:`AdversarialInferer` returned and the source's integer labels (B,), a scalar."""
        loss: torch.Tensor = self.contrastive(step.source, step.prompts[labels], step.scale)
        if step.target is None:
            return loss
        return loss + ADVERSARIAL_WEIGHT * self.adversarial(step.source, step.target)

    def adversarial(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of adapted, normalised features, (B, D) and (T, D), a scalar.

        Source and target pass the classifier one after the other, each normalised by its own batch, as published.
        """
        of_source = self.domain_classifier(reverse_gradient(source))
        of_target = self.domain_classifier(reverse_gradient(target))
        return (
            functional.binary_cross_entropy_with_logits(of_source, torch.ones_like(of_source))
            + functional.binary_cross_entropy_with_logits(of_target, torch.zeros_like(of_target))
        ) / 2
