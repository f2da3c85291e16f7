"""TinyViT as SAM's image encoder: a small encoder that trains as a whole, and the names of its published weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import Attention, TinyVit
from torch import nn

ENCODER = "image_encoder"
STAGES = rf"{ENCODER}\.layers\."

HEAD = rf"{ENCODER}\.(head|norm_head)\."
"""Names of TinyViT's classifier; no SAM uses it."""

RENAMED = (
    (rf"^{ENCODER}\.patch_embed\.seq\.0\.", rf"{ENCODER}.patch_embed.conv1."),
    (rf"^{ENCODER}\.patch_embed\.seq\.2\.", rf"{ENCODER}.patch_embed.conv2."),
    (rf"^{STAGES}", rf"{ENCODER}.stages."),
    (rf"^({ENCODER}\..+)\.c\.weight$", r"\1.conv.weight"),
)
"""Patterns of published names and their replacements, applied one after the other."""


class TinyVitEncoder(nn.Module):
    """Encodes images with TinyViT (5 M parameters) of the package timm and with SAM's neck.

    The last stage keeps the side of its input, so that an image embedding has a sixteenth of the image's side.

    Parameters
    ----------
    neck
        Channels of the image embedding.

    Notes
    -----
    Sources: Wu et al., "TinyViT", arXiv 2207.10666; the stride as in Zhang et al., "MobileSAM", arXiv 2306.14289, and
    Shu et al., "TinySAM", arXiv 2312.13789, both without stochastic depth. Names are those of timm and of SAM's neck.
    """

    def __init__(self, neck: int) -> None:
        super().__init__()
        widths = (64, 128, 160, 320)
        network = TinyVit(
            num_classes=0,
            embed_dims=widths,
            depths=(2, 2, 6, 2),
            num_heads=(2, 4, 5, 10),
            window_sizes=(7, 7, 14, 7),
            drop_path_rate=0.0,
        )
        network.stages[-1].downsample.conv2.conv.stride = (1, 1)
        for stage in network.stages[1:]:
            for block in stage.blocks:
                block.attn.__class__ = UncachedAttention
        self.patch_embed = network.patch_embed
        self.stages = network.stages
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], neck, kernel_size=1, bias=False),
            LayerNorm2d(neck),
            nn.Conv2d(neck, neck, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(neck),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Computes image embeddings: (B, 3, S, S) -> (B, neck, S / 16, S / 16)."""
        return self.neck(self.stages(self.patch_embed(image)))


class UncachedAttention(Attention):
    """Computes timm's attention and looks up its biases in every pass.

    timm keeps the biases of the first pass in evaluation mode; weights that an aggregation writes later would have no
    effect.
    """

    def get_attention_biases(self, device: torch.device) -> torch.Tensor:
        """Returns the biases by head, query position and key position, (heads, N, N)."""
        return self.attention_biases[:, self.attention_bias_idxs]


def timm_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames the tensors of a published TinyViT to the names of timm; any other state is returned unchanged.

    Parameters
    ----------
    state
        The state of a whole SAM, as MobileSAM (``mobile_sam.pt``) publishes it.

    Notes
    -----
    The downsampling between two stages belongs to the later stage in timm, and to the earlier stage in the published
    code. Sources: Wu et al., "TinyViT", arXiv 2207.10666; Zhang et al., "MobileSAM", arXiv 2306.14289.
    """
    if not any(re.match(STAGES, name) for name in state):
        return dict(state)
    return {_timm_name(name): value for name, value in state.items() if not re.match(HEAD, name)}


def _timm_name(name: str) -> str:
    name = re.sub(rf"^{STAGES}(\d+)\.downsample\.", lambda found: _next_stage(int(found[1])), name)
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _next_stage(stage: int) -> str:
    return f"{ENCODER}.stages.{stage + 1}.downsample."
