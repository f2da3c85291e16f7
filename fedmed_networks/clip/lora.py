"""LoRA on CLIP: its image encoder frozen but for low-rank terms of its queries and values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn import functional

from fedmed_networks.clip.foundation import PUBLISHED
from fedmed_networks.clip.zero_shot import ZeroShotCLIP
from fedmed_networks.low_rank import query_value_terms, thirds, with_own_parts


class LoraCLIP(ZeroShotCLIP):
    """Classifies pictures as zero-shot CLIP does; low-rank terms in the image encoder train.

    In every block the queries become W_q x + (alpha / r) B_q A_q x, the values likewise, the keys stay. A starts from
    torch's random numbers and B at zero, so that a new network answers as zero-shot CLIP.

    Parameters
    ----------
    class_names, clip, weights
        As of :class:`fedmed_networks.ZeroShotCLIP`; CLIP's image encoder is one of open_clip's vision transformers.
    rank
        r, rows of A and columns of B.
    alpha
        Scale of the terms, times r.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the image encoder has no attention that takes such terms.

    Notes
    -----
    Sources: Hu et al., "LoRA", arXiv 2106.09685, section 4.1, by the package peft; on CLIP as in Zanella and Ben Ayed,
    "Low-Rank Few-Shot Adaptation of Vision-Language Models", arXiv 2405.18541, on the image encoder alone; averaged
    factor by factor as in Zhang et al., "Towards Building the Federated GPT", arXiv 2305.05644. ViT-B-32 and rank 4
    give 147,456 parameters.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        clip: str | Mapping[str, Any] = PUBLISHED,
        weights: str | Path | None = None,
        rank: int = 4,
        alpha: float = 4.0,
    ) -> None:
        config = query_value_terms(rank, alpha)
        super().__init__(class_names, clip, weights)
        if not _blocks(self.visual):
            expected = "LoRA expects one of open_clip's vision transformers"
            raise ValueError(f"CLIP {clip!r}: its image encoder is a {type(self.visual).__qualname__}, {expected}")
        self.visual = _with_terms(self.visual, config)


def _with_terms(shared: nn.Module, config: LoraConfig) -> nn.Module:
    """An image encoder of the same layers as another, not copies of them, with low-rank terms in its attention."""
    encoder = with_own_parts(shared, _blocks(shared))
    for block in _blocks(encoder):
        block.attn = ProjectedAttention(block.attn)
    adapted: nn.Module = inject_adapter_in_model(config, encoder)
    return adapted


def _blocks(encoder: nn.Module) -> list[ResidualAttentionBlock]:
    return [module for module in encoder.modules() if isinstance(module, ResidualAttentionBlock)]


class ProjectedAttention(nn.Module):
    """What a :class:`torch.nn.MultiheadAttention` computes, through the layers ``query``, ``key`` and ``value``.

    Torch holds the three as one tensor, which no layer of peft can be put beside; what peft does instead adds the terms
    to the frozen weight and subtracts them again in every pass, which leaves the weight rounded.

    Parameters
    ----------
    attention
        Batch first, keys and values as long as queries. Its weights are used, not copied; split again, they are in the
        same layers.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.query, self.key, self.value = thirds(attention, attention.in_proj_weight, attention.in_proj_bias)
        self.out_proj = attention.out_proj
        self.heads = attention.num_heads

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        need_weights: bool = False,
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """Attended tokens, (B, L, D) -> (B, L, D), and no weights."""
        attended = functional.scaled_dot_product_attention(
            self._by_head(self.query(query)), self._by_head(self.key(key)), self._by_head(self.value(value)), attn_mask
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None

    def _by_head(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, L, D) -> (B, heads, L, D / heads)
