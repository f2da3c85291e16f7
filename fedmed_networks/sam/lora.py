"""LoRA on SAM: a prompt-free SAM whose image encoder is frozen but for low-rank terms of its queries and values."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from fedmed_networks.low_rank import query_value_terms, thirds, with_own_parts
from fedmed_networks.sam.foundation import ModelType
from fedmed_networks.sam.frozen_encoder import FrozenEncoderSam
from fedmed_networks.sam.image_encoder import ImageEncoder


class LoraSAM(FrozenEncoderSam):
    """Segments images with SAM, without prompts; low-rank terms in the image encoder train, and the mask decoder.

    In every block the queries become W_q x + (alpha / r) B_q A_q x, the values likewise, the keys stay. A starts from
    torch's random numbers and B at zero, so that a new network has SAM's own image embeddings.

    Parameters
    ----------
    num_classes, model_type, image_size, weights, precision, checkpointing
        As :class:`fedmed_networks.FedSAM` has them; ``tiny_vit`` has no such terms.
    rank
        r, rows of A and columns of B.
    alpha
        Scale of the terms, times r.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the weights are another network's.

    Notes
    -----
    Sources: Hu et al., "LoRA", arXiv 2106.09685, section 4.1, by the package peft; on SAM as in Zhang and Liu, "SAMed",
    arXiv 2304.13785, with its rank 4 and scale 1. SAMed's decoder answers a learnt default prompt; here, as in FedMSA,
    there is none. With vit_b and one class, 3.7 M parameters train, 147 thousand of them in the encoder.
    What networks of a process share, and which states are refused: :class:`FrozenEncoderSam`.
    """

    def __init__(
        self,
        num_classes: int = 1,
        model_type: ModelType = "vit_b",
        image_size: int = 1024,
        weights: str | Path | None = None,
        precision: str = "float32",
        checkpointing: bool = False,
        rank: int = 4,
        alpha: float = 4.0,
    ) -> None:
        adapted = partial(_with_terms, config=query_value_terms(rank, alpha))
        super().__init__(adapted, num_classes, model_type, image_size, weights, precision, checkpointing)


class QueryKeyValue(nn.Module):
    """The projection of SAM's attention as three, so that peft finds the queries' and the values'.

    Parameters
    ----------
    projection
        SAM's, D -> 3 D. Its weights are used, not copied.
    """

    def __init__(self, projection: nn.Linear) -> None:
        super().__init__()
        self.query, self.key, self.value = thirds(projection, projection.weight, projection.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values of tokens, one after the other: (..., D) -> (..., 3 D)."""
        return torch.cat([self.query(tokens), self.key(tokens), self.value(tokens)], dim=-1)


def _with_terms(shared: ImageEncoder, config: LoraConfig) -> ImageEncoder:
    """An image encoder of the same layers as another, not copies of them, with low-rank terms in its blocks."""
    encoder = with_own_parts(shared, (block.attn for block in shared.blocks))
    for block in encoder.blocks:
        block.attn.qkv = QueryKeyValue(block.attn.qkv)
    return inject_adapter_in_model(config, encoder)
