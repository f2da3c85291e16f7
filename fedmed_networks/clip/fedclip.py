"""FedCLIP: a frozen CLIP whose image features pass through a trained attention without normalisation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from fedmed_networks.clip.facmic import FACMIC
from fedmed_networks.clip.foundation import PUBLISHED


class FedCLIP(FACMIC):
    """FACMIC's network with the attention of FedCLIP: a(v) = softmax(W2 tanh(W1 v)).

    Parameters
    ----------
    class_names, clip, weights
        As of :class:`fedmed_networks.FACMIC`.

    Notes
    -----
    Source: Lu et al., "FedCLIP: Fast Generalization and Personalization for CLIP in Federated Learning",
    arXiv 2302.13485. D = 512 gives 525,312 parameters; nothing in them is a normalisation.
    """

    def __init__(
        self, class_names: Sequence[str], clip: str | Mapping[str, Any] = PUBLISHED, weights: str | Path | None = None
    ) -> None:
        super().__init__(class_names, clip, weights, attention=attention_without_normalization)


def attention_without_normalization(dim: int) -> nn.Sequential:
    """The attention of FedCLIP on features of length D: (B, D) -> (B, D), every row sums to one."""
    return nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim), nn.Softmax(dim=1))
