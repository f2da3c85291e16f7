"""The training step of methods without a target: the contrastive loss of image-prompt pairs alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from torch import nn

from fedmed_workflows.methods.contrastive import ContrastiveLoss


class Pairs(NamedTuple):
    """The tensors of a forward pass that the loss of image-prompt pairs needs."""

    features: torch.Tensor  # (B, D), normalised
    prompts: torch.Tensor  # (C, D), of every class, normalised
    scale: torch.Tensor


class PairInferer(Inferer):
    """Computes the forward pass of a training step in which the encoder trains: features and class prompts.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import LoraCLIP
    >>> from fedmed_workflows import PairInferer
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> step = PairInferer()(torch.rand(4, 3, 16, 16), LoraCLIP(["benign", "malignant"], clip))
    >>> step.features.shape, step.prompts.shape
    (torch.Size([4, 16]), torch.Size([2, 16]))
    """

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Pairs:
        """Computes one step.

        Parameters
        ----------
        inputs
            (B, 3, S, S) pictures of the site.
        network
            A :class:`fedmed_networks.clip.prompted_classifier.PromptedClassifier`.
        """
        return Pairs(network.adapt(network.encode(inputs)), network.prompts, network.scale)


class PairLoss(nn.Module):
    """Computes the contrastive loss of every picture and the prompt of its class.

    Parameters
    ----------
    contrastive
        The loss of the pairs, ``(features (B, D), prompts (B, D), scale) -> scalar``; None for
        :class:`fedmed_workflows.ContrastiveLoss`.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import PairLoss
    >>> from fedmed_workflows.methods.image_prompt_pairs import Pairs
    >>> PairLoss()(Pairs(torch.eye(2), torch.eye(2), torch.tensor(1.0)), torch.tensor([0, 1]))
    tensor(0.3133)
    """

    def __init__(self, contrastive: nn.Module | None = None) -> None:
        super().__init__()
        self.contrastive = contrastive or ContrastiveLoss()

    def forward(self, step: Pairs, labels: torch.Tensor) -> torch.Tensor:
        """Computes the loss of a step of :class:`PairInferer` with integer labels (B,) of the pictures, a scalar."""
        loss: torch.Tensor = self.contrastive(step.features, step.prompts[labels], step.scale)
        return loss
