"""FedMSA: a prompt-free SAM whose image encoder is frozen but for its adapters."""

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


class FedMSA(FrozenEncoderSam):
    """Segments images with SAM, without prompts; adapters in the image encoder train, and the mask decoder.

    The adapters start from torch's random numbers, see :class:`fedmed_networks.sam.fedmsa.Adapter`.

    Parameters
    ----------
    num_classes, model_type, image_size, weights, precision, checkpointing
        As :class:`fedmed_networks.FedSAM` has them; ``tiny_vit`` has no adapters.
    window_padding
        ``sam`` pads windows after norm1, as SAM does; ``published`` pads them before it, as the code of FedFMS does.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the weights are another network's.

    Notes
    -----
    Source: Liu et al., "FedFMS", arXiv 2403.05408, section 2.3. With vit_b and one class, 10.6 M parameters train.
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
        window_padding: str = "sam",
    ) -> None:
        if window_padding not in ("sam", "published"):
            raise ValueError(f"window_padding: expected 'sam' or 'published', found {window_padding!r}")
        adapted = partial(_with_adapters, window_padding=window_padding)
        super().__init__(adapted, num_classes, model_type, image_size, weights, precision, checkpointing)


def _with_adapters(shared: ImageEncoder, window_padding: str) -> ImageEncoder:
    """An image encoder of the same layers as another, not copies of them, with adapters in its blocks."""
    layers = [shared.pos_embed, shared.patch_embed, shared.blocks, shared.neck]
    encoder = copy.deepcopy(shared, {id(layer): layer for layer in layers})
    encoder.blocks = nn.ModuleList(AdaptedBlock(block, window_padding) for block in shared.blocks)
    return encoder


REDUCTION = 4
"""How many times shorter an adapter's hidden layer is than a token."""


class Adapter(nn.Module):
    """Two layers that correct a token: D_fc2(GELU(D_fc1(x))), without the sum to x.

    The second layer starts at zero, so that a network with new adapters answers as it did without them. (Medical SAM
    Adapter's code starts from torch's default in both layers, which moves SAM's embeddings before the first step.)

    Parameters
    ----------
    width
        Length D of a token; the hidden layer has D / 4.

    Notes
    -----
    Source: Wu et al., "Medical SAM Adapter", arXiv 2304.12620; the names of the layers are those of its published
    weights.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, width // REDUCTION)
        self.D_fc2 = nn.Linear(width // REDUCTION, width)
        nn.init.zeros_(self.D_fc2.weight)
        nn.init.zeros_(self.D_fc2.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Corrections of tokens: (..., D) -> (..., D)."""
        return self.D_fc2(functional.gelu(self.D_fc1(tokens)))


class AdaptedBlock(nn.Module):
    """A block of SAM's image encoder with an adapter after its attention and one beside its MLP.

    With a = attention(norm1(x)) the block gives y = x + a + Space_Adapter(a), then, with n = norm2(y),
    y + MLP(n) + 0.5 MLP_Adapter(n).

    Parameters
    ----------
    block
        The block without adapters. Its layers are used, not copied.
    window_padding
        What fills windows that reach over the edge: ``sam`` pads after norm1, with zeros, as SAM does; ``published``
        pads before it, as the code of FedFMS does, so that the padding holds norm1's bias.

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
        """Tokens of an image, (B, H, W, D) -> (B, H, W, D)."""
        attended = self._attend(tokens)
        tokens = tokens + (attended + self.Space_Adapter(attended))
        normalised = self.norm2(tokens)
        return tokens + self.mlp(normalised) + 0.5 * self.MLP_Adapter(normalised)

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.window_size == 0:
            return self.attn(self.norm1(tokens))
        size = (tokens.shape[1], tokens.shape[2])
        if self.window_padding == "sam":
            windows, padded = window_partition(self.norm1(tokens), self.window_size)
        else:
            windows, padded = window_partition(tokens, self.window_size)
            windows = self.norm1(windows)
        return window_unpartition(self.attn(windows), self.window_size, padded, size)
