"""FedCLIP: FACMIC's classifier with an attention that has no normalisation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from fedmed_networks.clip.facmic import FACMIC
from fedmed_networks.clip.foundation import PUBLISHED


class FedCLIP(FACMIC):
    """Classifies as FACMIC does, with the attention of FedCLIP: a(v) = softmax(W2 tanh(W1 v)).

    Parameters
    ----------
    class_names, clip, weights
        See :class:`fedmed_networks.FACMIC`.

    Notes
    -----
    Source: Lu et al., "FedCLIP: Fast Generalization and Personalization for CLIP in Federated Learning",
    arXiv 2302.13485. D = 512 gives 525,312 parameters, none of them of a normalisation.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FedCLIP
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> FedCLIP(["benign", "malignant"], clip)(torch.rand(4, 3, 16, 16)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self, class_names: Sequence[str], clip: str | Mapping[str, Any] = PUBLISHED, weights: str | Path | None = None
    ) -> None:
        super().__init__(class_names, clip, weights, attention=attention_without_normalization)


def attention_without_normalization(dim: int) -> nn.Sequential:
    """Makes the attention of FedCLIP on features of length D: (B, D) -> (B, D), every row sums to one."""
    return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim), nn.Softmax(dim=1))
