"""FedMSA: a prompt-free SAM with adapters in its frozen image encoder; the adapter, and the block that holds two."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling.image_encoder import Block, window_partition, window_unpartition
from torch import nn
from torch.nn import functional

from fedmed_networks.sam.foundation import ModelType
from fedmed_networks.sam.frozen_encoder import FrozenEncoderSam
from fedmed_networks.sam.image_encoder import ImageEncoder

REDUCTION = 4
"""Ratio of the length of a token to the length of an adapter's hidden layer."""


class FedMSA(FrozenEncoderSam):
    """Segments images with SAM without prompts; the mask decoder and adapters in the image encoder train.

    The adapters start from torch's random numbers, see :class:`fedmed_networks.sam.fedmsa.Adapter`.

    Parameters
    ----------
    num_classes, model_type, image_size, weights, precision, checkpointing
        See :class:`fedmed_networks.FedSAM`; ``tiny_vit`` is refused, as it has no adapters.
    window_padding
        ``sam`` pads windows after norm1, as SAM does; ``published`` pads them before norm1, as the code of FedFMS does.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the weights are those of another network.

    Notes
    -----
    Source: Liu et al., "FedFMS", arXiv 2403.05408, section 2.3. With vit_b and one class, 10.6 M parameters train.
    :class:`FrozenEncoderSam` describes the tensors that networks of a process share, and the states that are refused.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FedMSA
    >>> sam = {"width": 32, "depth": 3, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16,
    ...        "neck": 16, "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp": 64}  # a small SAM, random weights
    >>> FedMSA(num_classes=2, model_type=sam, image_size=64)(torch.rand(1, 3, 64, 64)).shape
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
        window_padding: str = "sam",
    ) -> None:
        if window_padding not in ("sam", "published"):
            raise ValueError(f"window_padding: expected 'sam' or 'published', found {window_padding!r}")
        adapted = partial(_with_adapters, window_padding=window_padding)
        super().__init__(adapted, num_classes, model_type, image_size, weights, precision, checkpointing)


class Adapter(nn.Module):
    """Computes a correction of a token with two layers: D_fc2(GELU(D_fc1(x))); the caller adds it to the token.

    The second layer starts at zero, so that a network with new adapters has the logits of the network without them.
    (The code of Medical SAM Adapter starts both layers at torch's default, which changes SAM's embeddings before the
    first step.)

    Parameters
    ----------
    width
        Length D of a token; the hidden layer has the length D / 4.

    Notes
    -----
    Source: Wu et al., "Medical SAM Adapter", arXiv 2304.12620. The names of the layers are those of the published
    weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, width // REDUCTION)
        self.D_fc2 = nn.Linear(width // REDUCTION, width)
        nn.init.zeros_(self.D_fc2.weight)
        nn.init.zeros_(self.D_fc2.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Computes corrections of tokens: (..., D) -> (..., D)."""
        return self.D_fc2(functional.gelu(self.D_fc1(tokens)))


class AdaptedBlock(nn.Module):
    """Computes a block of SAM's image encoder with an adapter after its attention and one beside its MLP.

    With a = attention(norm1(x)), y = x + a + Space_Adapter(a) and n = norm2(y), the block computes
    y + MLP(n) + 0.5 MLP_Adapter(n).

    Parameters
    ----------
    block
        The block without adapters. Its layers are shared, not copied.
    window_padding
        Padding of windows that reach over the edge: ``sam`` pads after norm1, with zeros, as SAM does; ``published``
        pads before norm1, as the code of FedFMS does, so that the padding has the value of norm1's bias.

    Notes
    -----
    Source: Liu et al., "FedFMS", arXiv 2403.05408, section 2.3.
    """

    def __init__(self, block: Block, window_padding: str = "sam") -> None:
        super().__init__()
        width = block.norm1.normalized_shape[0]
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self.Space_Adapter = Adapter(width)
        self.MLP_Adapter = Adapter(width)
        self.window_size = int(block.window_size)
        self.window_padding = window_padding

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Computes the tokens of images: (B, H, W, D) -> (B, H, W, D)."""
        attended = self._attend(tokens)
        tokens = tokens + (attended + self.Space_Adapter(attended))
        normalised = self.norm2(tokens)
        return tokens + self.mlp(normalised) + 0.5 * self.MLP_Adapter(normalised)

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.window_size == 0:
            return self.attn(self.norm1(tokens))
        size = (tokens.shape[1], tokens.shape[2])
        if self.window_padding == "sam":
            windows, padded = window_partition(self.norm1(tokens), self.window_size)  # (B windows, side, side, D)
        else:
            windows, padded = window_partition(tokens, self.window_size)
            windows = self.norm1(windows)
        return window_unpartition(self.attn(windows), self.window_size, padded, size)


def _with_adapters(shared: ImageEncoder, window_padding: str) -> ImageEncoder:
    """Makes an image encoder that shares the layers of another one and has adapters in its blocks."""
    layers = [shared.pos_embed, shared.patch_embed, shared.blocks, shared.neck]
    encoder = copy.deepcopy(shared, {id(layer): layer for layer in layers})
    encoder.blocks = nn.ModuleList(AdaptedBlock(block, window_padding) for block in shared.blocks)
    return encoder
