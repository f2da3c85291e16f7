"""FAA-CLIP's training step: that of FACMIC, with an adversarial domain classifier instead of the LMMD."""

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
    """Computes the forward pass of a training step: source features with gradient, then target features without.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FACMIC
    >>> from fedmed_workflows import AdversarialInferer
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> step = AdversarialInferer()(torch.rand(4, 16), FACMIC(["benign", "malignant"], clip), target=torch.rand(3, 16))
    >>> step.source.shape, step.target.shape
    (torch.Size([4, 16]), torch.Size([3, 16]))
    """

    def __call__(
        self, inputs: torch.Tensor, network: Any, target: torch.Tensor | None = None, **kwargs: Any
    ) -> Adaptation:
        """Computes one step as :class:`fedmed_workflows.AdaptationInferer` does; the target is adapted, too."""
        source = network.adapt(features_of(inputs, network))
        if target is None:
            return Adaptation(source, None, None, network.prompts, network.scale)
        with torch.no_grad():
            adapted = network.adapt(features_of(target, network))
        return Adaptation(source, adapted, None, network.prompts, network.scale)


class FAACLIPLoss(nn.Module):
    """Adds half the adversarial loss of source and target to the contrastive loss of the source, if there is a target.

    p is the domain classifier's probability that a feature is one of the source. The adversarial loss is half the mean
    of -log p over the source plus half the mean of -log (1 - p) over the target. Its gradient reaches the attention
    with the opposite sign: the classifier learns to separate source and target, the attention learns to make them
    alike. The classifier belongs to the loss: it trains with the network's optimiser, is not exchanged, and is saved
    with the site's state.

    Parameters
    ----------
    network
        The network that trains. It defines the length of a feature and the device.

    Notes
    -----
    Source: Wu et al., "FAA-CLIP: Federated Adversarial Adaptation of CLIP", arXiv 2503.05776.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FACMIC
    >>> from fedmed_workflows import AdversarialInferer, FAACLIPLoss
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> network = FACMIC(["benign", "malignant"], clip)
    >>> step = AdversarialInferer()(torch.rand(4, 16), network, target=torch.rand(3, 16))
    >>> FAACLIPLoss(network)(step, torch.tensor([0, 1, 1, 0])).shape
    torch.Size([])
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.contrastive = ContrastiveLoss()
        self.domain_classifier = DomainClassifier(network.prompts.shape[1]).to(network.prompts.device)

    def forward(self, step: Adaptation, labels: torch.Tensor) -> torch.Tensor:
        """Computes the loss of a step of :class:`AdversarialInferer` and integer labels (B,) of the source."""
        loss: torch.Tensor = self.contrastive(step.source, step.prompts[labels], step.scale)
        if step.target is None:
            return loss
        return loss + ADVERSARIAL_WEIGHT * self.adversarial(step.source, step.target)

    def adversarial(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Computes the adversarial loss of adapted, normalised features, (B, D) and (T, D), a scalar.

        Source and target pass the classifier one after the other, each normalised by its own batch, as published.
        """
        of_source = self.domain_classifier(reverse_gradient(source))  # (B,)
        of_target = self.domain_classifier(reverse_gradient(target))  # (T,)
        return (
            functional.binary_cross_entropy_with_logits(of_source, torch.ones_like(of_source))
            + functional.binary_cross_entropy_with_logits(of_target, torch.zeros_like(of_target))
        ) / 2
