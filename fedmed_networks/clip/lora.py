"""LoRA on CLIP: low-rank terms in a frozen image encoder, and the attention with separate layers that takes them."""

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

    In every block the queries become W_q x + (alpha / r) B_q A_q x, and the values likewise; the keys do not change. A
    starts from torch's random numbers and B at zero, so that a new network has the logits of zero-shot CLIP.

    Parameters
    ----------
    class_names, clip, weights
        See :class:`fedmed_networks.ZeroShotCLIP`; the image encoder must be one of open_clip's vision transformers.
    rank
        r, the number of rows of A and of columns of B.
    alpha
        Scale of the terms, multiplied by r.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the image encoder has no attention that can take such terms.

    Notes
    -----
    Sources: Hu et al., "LoRA", arXiv 2106.09685, section 4.1, with the package peft; on CLIP as in Zanella and Ben
    Ayed, "Low-Rank Few-Shot Adaptation of Vision-Language Models", arXiv 2405.18541, but only on the image encoder; A
    and B are averaged separately as in Zhang et al., "Towards Building the Federated GPT", arXiv 2305.05644. ViT-B-32
    and rank 4 give 147,456 parameters.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import LoraCLIP
    >>> clip = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    ...         "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # a small CLIP with random weights
    >>> LoraCLIP(["benign", "malignant"], clip, rank=2)(torch.rand(4, 3, 16, 16)).shape
    torch.Size([4, 2])
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


class ProjectedAttention(nn.Module):
    """Computes a :class:`torch.nn.MultiheadAttention` with separate layers ``query``, ``key`` and ``value``.

    Torch keeps the three in one tensor, to which peft can add no layer. peft would add the terms to the frozen weight
    and subtract them again in every pass, which leaves rounding errors in the weight.

    Parameters
    ----------
    attention
        An attention with the batch first, and with keys and values as long as queries. Its weights are shared, not
        copied; several modules of one attention share the same layers.
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
        """Computes the attended tokens, (B, L, D) -> (B, L, D); returns None in place of attention weights."""
        attended = functional.scaled_dot_product_attention(
            self._by_head(self.query(query)), self._by_head(self.key(key)), self._by_head(self.value(value)), attn_mask
        )  # (B, heads, L, D / heads)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None

    def _by_head(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, L, D) -> (B, heads, L, D / heads)


def _with_terms(shared: nn.Module, config: LoraConfig) -> nn.Module:
    """Makes an image encoder that shares the layers of another one and has low-rank terms in its attention."""
    encoder = with_own_parts(shared, _blocks(shared))
    for block in _blocks(encoder):
        block.attn = ProjectedAttention(block.attn)
    adapted: nn.Module = inject_adapter_in_model(config, encoder)
    return adapted


def _blocks(encoder: nn.Module) -> list[ResidualAttentionBlock]:
    return [module for module in encoder.modules() if isinstance(module, ResidualAttentionBlock)]
