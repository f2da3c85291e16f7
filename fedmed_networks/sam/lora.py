"""LoRA on SAM: a prompt-free SAM with low-rank terms of queries and values in its frozen image encoder."""

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
    """Segments images with SAM without prompts; the mask decoder and low-rank terms in the image encoder train.

    In every block the queries become W_q x + (alpha / r) B_q A_q x, and the values likewise; the keys do not change. A
    starts from torch's random numbers and B at zero, so that a new network has the image embeddings of SAM.

    Parameters
    ----------
    num_classes, model_type, image_size, weights, precision, checkpointing
        See :class:`fedmed_networks.FedSAM`; ``tiny_vit`` is refused, as its attention takes no such terms.
    rank
        r, the number of rows of A and of columns of B.
    alpha
        Scale of the terms, multiplied by r.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the weights are those of another network.

    Notes
    -----
    Sources: Hu et al., "LoRA", arXiv 2106.09685, section 4.1, with the package peft; on SAM as in Zhang and Liu,
    "SAMed", arXiv 2304.13785, with its rank 4 and scale 1. SAMed's decoder has a learnt default prompt; here, as in
    FedMSA, there is none. With vit_b and one class, 3.7 M parameters train, 147 thousand of them in the encoder.
    :class:`FrozenEncoderSam` describes the tensors that networks of a process share, and the states that are refused.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import LoraSAM
    >>> sam = {"width": 32, "depth": 3, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16,
    ...        "neck": 16, "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp": 64}  # a small SAM, random weights
    >>> LoraSAM(num_classes=2, model_type=sam, image_size=64)(torch.rand(1, 3, 64, 64)).shape
    torch.Size([1, 2, 16, 16])
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
    """Computes the projection of SAM's attention with three layers, so that peft can adapt queries and values.

    Parameters
    ----------
    projection
        The projection of SAM, D -> 3 D. Its weights are shared, not copied.
    """

    def __init__(self, projection: nn.Linear) -> None:
        super().__init__()
        self.query, self.key, self.value = thirds(projection, projection.weight, projection.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Computes queries, keys and values of tokens, one after the other: (..., D) -> (..., 3 D)."""
        return torch.cat([self.query(tokens), self.key(tokens), self.value(tokens)], dim=-1)


def _with_terms(shared: ImageEncoder, config: LoraConfig) -> ImageEncoder:
    """Makes an image encoder that shares the layers of another one and has low-rank terms in its blocks."""
    encoder = with_own_parts(shared, (block.attn for block in shared.blocks))
    for block in encoder.blocks:
        block.attn.qkv = QueryKeyValue(block.attn.qkv)
    return inject_adapter_in_model(config, encoder)
