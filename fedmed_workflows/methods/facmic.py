"""FACMIC's training step: the forward pass of a source and a target batch, and the loss of both."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from torch import nn
from torch.nn import functional

from fedmed_workflows.methods.contrastive import ContrastiveLoss
from fedmed_workflows.methods.lmmd import LMMDLoss


class Adaptation(NamedTuple):
    """The tensors of a forward pass that the loss of FACMIC needs."""

    source: torch.Tensor  # (B, D) adapted, normalised
    target: torch.Tensor | None  # (T, D) raw CLIP features, normalised
    target_probabilities: torch.Tensor | None  # (T, C), no gradient
    prompts: torch.Tensor  # (C, D), normalised
    scale: torch.Tensor


class FeatureInferer(Inferer):
    """Computes logits of pictures (B, 3, S, S), or of features (B, D) that the encoder has computed already.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FACMIC
    >>> from fedmed_workflows import FeatureInferer
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> FeatureInferer()(torch.rand(4, 16), FACMIC(["benign", "malignant"], clip)).shape
    torch.Size([4, 2])
    """

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Computes logits: (B, 3, S, S) or (B, D) -> (B, C)."""
        logits: torch.Tensor = network.classify(features_of(inputs, network))
        return logits


class AdaptationInferer(Inferer):
    """Computes the forward pass of a training step: the source passes the attention first, then the target.

    Both pass the attention in training mode, so both change its BatchNorm statistics. The target has no gradient.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FACMIC
    >>> from fedmed_workflows import AdaptationInferer
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> step = AdaptationInferer()(torch.rand(4, 16), FACMIC(["benign", "malignant"], clip), target=torch.rand(3, 16))
    >>> step.source.shape, step.target_probabilities.shape
    (torch.Size([4, 16]), torch.Size([3, 2]))
    """

    def __call__(
        self, inputs: torch.Tensor, network: Any, target: torch.Tensor | None = None, **kwargs: Any
    ) -> Adaptation:
        """Computes one step.

        Parameters
        ----------
        inputs
            (B, 3, S, S) pictures or (B, D) CLIP features of the site.
        network
            A :class:`fedmed_networks.FACMIC` with C classes.
        target
            (T, 3, S, S) pictures or (T, D) CLIP features of the target, or None to train without adaptation.
        """
        source = network.adapt(features_of(inputs, network))
        if target is None:
            return Adaptation(source, None, None, network.prompts, network.scale)
        with torch.no_grad():
            raw = features_of(target, network)  # (T, D)
            probabilities = network.classify(raw).softmax(dim=1)  # (T, C)
        return Adaptation(source, functional.normalize(raw, dim=1), probabilities, network.prompts, network.scale)


class FACMICLoss(nn.Module):
    """Adds the LMMD between source and target to the contrastive loss of the source, if there is a target.

    Notes
    -----
    Source: Wu et al., arXiv 2410.14707, equation 6.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import FACMICLoss
    >>> from fedmed_workflows.methods.facmic import Adaptation
    >>> step = Adaptation(torch.eye(2), None, None, prompts=torch.eye(2), scale=torch.tensor(1.0))
    >>> FACMICLoss()(step, torch.tensor([0, 1]))  # without a target it is the contrastive loss
    tensor(0.3133)
    """

    def __init__(self) -> None:
        super().__init__()
        self.contrastive = ContrastiveLoss()
        self.lmmd = LMMDLoss()

    def forward(self, step: Adaptation, labels: torch.Tensor) -> torch.Tensor:
        """Computes the loss of a step of :class:`AdaptationInferer` and integer labels (B,) of the source, a scalar."""
        loss: torch.Tensor = self.contrastive(step.source, step.prompts[labels], step.scale)
        if step.target is None or step.target_probabilities is None:
            return loss
        return loss + self.lmmd(step.source, step.target, labels, step.target_probabilities)


def features_of(inputs: torch.Tensor, network: Any) -> torch.Tensor:
    """Returns the CLIP features (B, D) of pictures (B, 3, S, S); features (B, D) are returned unchanged."""
    if inputs.ndim == 2:
        return inputs
    with torch.no_grad():
        features: torch.Tensor = network.encode(inputs)
    return features
