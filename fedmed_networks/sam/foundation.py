"""SAM foundations, each built once in a process, and the base of prompt-free networks on them."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from fedmed_networks.file_digests import loaded_digest
from fedmed_networks.foundation_weights import FoundationWeights, loaded_weights, random_weights
from fedmed_networks.sam.architecture import PATCH_SIZE, SamArchitecture, sam_architecture
from fedmed_networks.sam.image_encoder import ImageEncoder
from fedmed_networks.sam.mask_decoder import DensePositions, PromptFreeMaskDecoder
from fedmed_networks.sam.tiny_vit import TinyVitEncoder
from fedmed_networks.sam.weights import load_sam_weights
from fedmed_networks.slice_network import SliceNetwork
from fedmed_networks.weights import plain

logger = logging.getLogger(__name__)

RANDOM_SEED = 20240308
"""Seed of random weights, so that every site of a federation starts from the same network without a checkpoint."""

ModelType = str | Mapping[str, Any]


def shared_sam(model_type: ModelType, image_size: int, weights: str | Path | None = None) -> Sam:
    """Returns the frozen SAM of a model type, image size and weights; within a process always the same object.

    Parameters
    ----------
    model_type
        See :func:`fedmed_networks.sam.architecture.sam_architecture`.
    image_size
        Side of the image in pixels, a multiple of 16.
    weights
        A checkpoint of SAM (see :func:`fedmed_networks.sam.weights.load_sam_weights`), or None for random weights from
        a fixed seed.

    Raises
    ------
    ValueError
        The model type is unknown, the image size is no multiple of 16, or the file is no checkpoint of such a SAM.
    """
    if image_size < PATCH_SIZE or image_size % PATCH_SIZE:
        raise ValueError(f"image_size: expected a multiple of {PATCH_SIZE} pixels, found {image_size}")
    sam_architecture(model_type)
    name = model_type if isinstance(model_type, str) else json.dumps(plain(model_type), sort_keys=True)
    path = None if weights is None else str(weights)
    return _build(name, image_size, path, loaded_digest(Path(path)) if path and Path(path).is_file() else "")


@functools.lru_cache(maxsize=2)
def _build(name: str, image_size: int, weights: str | None, digest: str) -> Sam:
    architecture = sam_architecture(json.loads(name) if name.startswith("{") else name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        sam = _random_sam(architecture, image_size)
    if weights is not None:
        load_sam_weights(sam, Path(weights), name)
    sam.foundation_weights = _recorded(sam, name, weights)
    return sam.requires_grad_(False).eval()


def _recorded(sam: Sam, name: str, weights: str | None) -> FoundationWeights:
    if weights is None:
        record = random_weights("SAM", name, sam, RANDOM_SEED)
    else:
        record = loaded_weights("SAM", name, sam, f"file {Path(weights).name}", Path(weights))
    logger.log(logging.WARNING if record.random else logging.INFO, "%s, model %s", record, name)
    return record


def _random_sam(architecture: SamArchitecture, image_size: int) -> Sam:
    side, neck = image_size // PATCH_SIZE, architecture.neck
    transformer = TwoWayTransformer(
        architecture.decoder_depth, neck, architecture.decoder_heads, architecture.decoder_mlp
    )
    encoder = (
        TinyVitEncoder(neck) if architecture.encoder is None else ImageEncoder(architecture.encoder, neck, image_size)
    )
    return Sam(
        encoder,
        PromptEncoder(neck, (side, side), (image_size, image_size), mask_in_chans=16),
        MaskDecoder(transformer_dim=neck, transformer=transformer, iou_head_hidden_dim=neck),
    )


class PromptFreeSam(SliceNetwork):
    """Segments images with the parts of SAM that need no prompt: an image encoder, positions and a mask decoder.

    Parameters
    ----------
    image_encoder, positions
        The encoder, (B, 3, S, S) -> (B, neck, S / 16, S / 16), and the positions of its image embedding.
    foundation
        The SAM with the initial weights of the mask decoder, and with ``foundation_weights``, the record of them. Its
        1x1 convolution, for two and more classes, starts from torch's random numbers.
    architecture
        Sizes of the SAM.
    num_classes, image_size, precision
        See :class:`fedmed_networks.FedSAM`.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        positions: nn.Module,
        foundation: Sam,
        architecture: SamArchitecture,
        num_classes: int,
        image_size: int,
        precision: str,
    ) -> None:
        super().__init__(num_classes, image_size, precision)
        self.image_encoder = image_encoder
        self.prompt_encoder = positions
        self.mask_decoder = PromptFreeMaskDecoder(architecture, num_classes)
        self.mask_decoder.load_state_dict(foundation.mask_decoder.state_dict(), strict=False)
        self.foundation_weights: FoundationWeights = foundation.foundation_weights
        self.train()

    def _answer(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.mask_decoder(self.image_encoder(pixels), self.prompt_encoder())


def dense_positions(foundation: Sam) -> DensePositions:
    """Makes the positions of a foundation's image embedding; they share its frequencies."""
    return DensePositions(foundation.prompt_encoder.pe_layer, foundation.prompt_encoder.image_embedding_size[0])
