"""SAM's mask decoder without prompts: it decodes a batch of images in one pass, with only the parts that it needs."""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import nn

from fedmed_networks.sam.architecture import SamArchitecture


class DensePositions(nn.Module):
    """Computes the positions of the image embedding, the only part of SAM's prompt encoder that needs no prompt.

    Parameters
    ----------
    pe_layer
        The layer with SAM's random spatial frequencies.
    side
        Side of the image embedding.
    """

    def __init__(self, pe_layer: PositionEmbeddingRandom, side: int) -> None:
        super().__init__()
        self.pe_layer = pe_layer
        self.side = side

    def forward(self) -> torch.Tensor:
        """Computes the positions (1, neck, side, side), always in float32: their angles are too large for bfloat16."""
        frequencies = self.pe_layer.positional_encoding_gaussian_matrix
        with torch.autocast(frequencies.device.type, enabled=False):
            # pe_layer(size) would fix the device in a traced network
            grid = frequencies.new_ones((self.side, self.side), dtype=torch.long)  # of floats a GPU's sums may vary
            centres = torch.stack([grid.cumsum(dim=1), grid.cumsum(dim=0)], dim=-1).float() - 0.5  # (side, side, 2)
            return self.pe_layer.forward_with_coords(centres, (self.side, self.side)).permute(2, 0, 1).unsqueeze(0)


class PromptFreeMaskDecoder(MaskDecoder):
    """Decodes image embeddings as segment_anything's mask decoder does, without prompt tokens and dense prompt.

    With one class the logits are the mask of SAM's first mask token; with more classes they are a 1x1 convolution
    (``seg1``) of all four masks. Layers without a gradient do not exist here: the head that estimates IoU and, with one
    class, the MLPs of the other three mask tokens. (The tokens themselves take part in the attention.)

    Parameters
    ----------
    architecture
        Sizes of the SAM.
    num_classes
        Channels C of the logits.

    Notes
    -----
    Source: Liu et al., "FedFMS", arXiv 2403.05408, section 2.2; the names of the layers are those of SAM.
    """

    def __init__(self, architecture: SamArchitecture, num_classes: int) -> None:
        transformer = TwoWayTransformer(
            depth=architecture.decoder_depth,
            embedding_dim=architecture.neck,
            num_heads=architecture.decoder_heads,
            mlp_dim=architecture.decoder_mlp,
        )
        super().__init__(transformer_dim=architecture.neck, transformer=transformer)
        del self.iou_prediction_head
        self.num_classes = num_classes
        if num_classes == 1:
            del self.output_hypernetworks_mlps[1:]
        else:
            self.seg1 = nn.Conv2d(self.num_mask_tokens, num_classes, kernel_size=1)

    def forward(self, image_embedding: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Computes logits of image embeddings.

        Parameters
        ----------
        image_embedding
            (B, neck, h, w).
        positions
            (1, neck, h, w), the result of :class:`DensePositions`.

        Returns
        -------
        torch.Tensor
            (B, C, 4 h, 4 w).
        """
        batch, _, height, width = image_embedding.shape
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(batch, -1, -1)  # (B, 5, neck)
        tokens, pixels = self.transformer(image_embedding, positions, tokens)  # (B, 5, neck), (B, h w, neck)
        pixels = self.output_upscaling(pixels.transpose(1, 2).unflatten(2, (height, width)))  # (B, neck / 8, 4 h, 4 w)
        of_masks = [mlp(tokens[:, place]) for place, mlp in enumerate(self.output_hypernetworks_mlps, start=1)]
        masks = (torch.stack(of_masks, dim=1) @ pixels.flatten(2)).unflatten(2, (4 * height, 4 * width))  # (B, 4, ...)
        return masks if self.num_classes == 1 else self.seg1(masks)
