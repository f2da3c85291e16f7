"""FedSAM: a prompt-free SAM in which every parameter trains."""

from __future__ import annotations

import copy
from pathlib import Path

from fedmed_networks.sam.architecture import sam_architecture
from fedmed_networks.sam.foundation import ModelType, PromptFreeSam, dense_positions, shared_sam


class FedSAM(PromptFreeSam):
    """Segments images with SAM without prompts; every parameter trains.

    SAM's layers for prompts and for the estimate of IoU are no part of the network, so that every parameter gets a
    gradient.

    Parameters
    ----------
    num_classes
        Channels C of the logits. One class is the mask of SAM's first mask token. More classes are a 1x1 convolution of
        SAM's four masks, which starts from torch's random numbers.
    model_type
        ``vit_b``, ``vit_l``, ``vit_h``; ``tiny_vit``, TinyViT in their place; or a mapping that describes a small SAM,
        see :func:`fedmed_networks.sam.architecture.sam_architecture`.
    image_size
        Side S of the images in pixels, a multiple of 16.
    weights
        A checkpoint of SAM, see :func:`fedmed_networks.sam.weights.load_sam_weights`; None for random weights from a
        fixed seed.
    precision
        ``float32``, or ``bfloat16`` for torch's autocast within the network; parameters and logits are float32.
    checkpointing
        Whether the backward pass computes the blocks of the image encoder again, instead of keeping their tensors:
        slower, with less memory and the same gradients.

    Raises
    ------
    ValueError
        A parameter is out of its range, the weights are those of another network, or checkpointing is set for
        ``tiny_vit``, which would update the statistics of its batch normalisations twice.

    Notes
    -----
    Source: Liu et al., "FedFMS", arXiv 2403.05408, section 2.2. ``load_state_dict`` refuses a state with missing or
    unknown tensors or with other shapes with a ValueError, also with ``strict=False``.

    Examples
    --------
    >>> import torch
    >>> from fedmed_networks import FedSAM
    >>> sam = {"width": 32, "depth": 3, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16,
    ...        "neck": 16, "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp": 64}  # a small SAM, random weights
    >>> FedSAM(num_classes=2, model_type=sam, image_size=64)(torch.rand(1, 3, 64, 64)).shape
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
    ) -> None:
        architecture = sam_architecture(model_type)
        if checkpointing and architecture.encoder is None:
            raise ValueError("checkpointing: tiny_vit cannot, its batch normalisations would count every batch twice")
        foundation = shared_sam(model_type, image_size, weights)
        encoder = copy.deepcopy(foundation.image_encoder)
        encoder.checkpointing = checkpointing
        positions = copy.deepcopy(dense_positions(foundation))
        super().__init__(encoder, positions, foundation, architecture, num_classes, image_size, precision)
        self.requires_grad_(True)
