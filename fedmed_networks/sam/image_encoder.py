"""SAM's image encoder for any image size, with attention that needs less memory."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn
from torch.utils.checkpoint import checkpoint

from fedmed_networks.sam.architecture import PATCH_SIZE, VisionTransformer
from fedmed_networks.sam.attention import RelativeAttention


class ImageEncoder(ImageEncoderViT):
    """Encodes images as segment_anything's image encoder does, with :class:`RelativeAttention` in its blocks.

    Parameters
    ----------
    sizes
        The vision transformer.
    neck
        Channels of the image embedding.
    image_size
        Side S of the image in pixels, a multiple of 16.

    Attributes
    ----------
    checkpointing
        Whether training keeps only the tokens between blocks, and computes each block again in the backward pass.
    """

    def __init__(self, sizes: VisionTransformer, neck: int, image_size: int) -> None:
        super().__init__(
            img_size=image_size,
            patch_size=PATCH_SIZE,
            embed_dim=sizes.width,
            depth=sizes.depth,
            num_heads=sizes.heads,
            out_chans=neck,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=sizes.window_size,
            global_attn_indexes=sizes.global_blocks,
        )
        self.checkpointing = False
        for place, block in enumerate(self.blocks):
            side = image_size // PATCH_SIZE if place in sizes.global_blocks else sizes.window_size
            block.attn = RelativeAttention(sizes.width, sizes.heads, use_rel_pos=True, input_size=(side, side))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Computes image embeddings: (B, 3, S, S) -> (B, neck, S / 16, S / 16)."""
        tokens = self.patch_embed(image) + self.pos_embed  # (B, S / 16, S / 16, D)
        again = self.checkpointing and self.training and torch.is_grad_enabled()
        for block in self.blocks:
            tokens = checkpoint(block, tokens, use_reentrant=False) if again else block(tokens)
        return self.neck(tokens.permute(0, 3, 1, 2))  # (B, neck, S / 16, S / 16)
