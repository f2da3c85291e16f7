"""FedSAM: a prompt-free SAM that trains as a whole."""

from __future__ import annotations

import copy
from pathlib import Path

from fedmed_networks.sam.architecture import sam_architecture
from fedmed_networks.sam.foundation import ModelType, PromptFreeSam, dense_positions, shared_sam


class FedSAM(PromptFreeSam):
    """Segments images with SAM, without prompts; every parameter trains.

    What SAM has for prompts and for its estimate of IoU is no part of the network, so that everything in it gets a
    gradient.

    Parameters
    ----------
    num_classes
        Channels C of the logits. One class is the mask of SAM's first mask token, more are a 1x1 convolution of its
        four masks, whose start is drawn from torch's random numbers.
    model_type
        ``vit_b``, ``vit_l``, ``vit_h``; ``tiny_vit`` (TinyViT in their place); or a mapping that describes a small SAM,
        see :func:`fedmed_networks.sam.architecture.sam_architecture`.
    image_size
        Side S of the images in pixels, a multiple of 16.
    weights
        A checkpoint of SAM, see :func:`fedmed_networks.sam.weights.load_sam_weights`; None for random weights from a
        fixed seed.
    precision
        ``float32``, or ``bfloat16`` for torch's autocast within the network; parameters and logits are float32.
    checkpointing
        Whether training computes the image encoder's blocks again for their gradients, instead of keeping what is in
        them: slower, in less memory, with the same gradients.

    Raises
    ------
    ValueError
        A parameter is out of its range, the weights are another network's, or checkpointing was asked of ``tiny_vit``,
        whose batch normalisations would count every batch twice.

    Notes
    -----
    Source: Liu et al., "FedFMS", arXiv 2403.05408, section 2.2. A state that lacks tensors, has others, or other shapes
    is refused by ``load_state_dict`` with a ValueError, even where ``strict=False``.
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
