"""FedMSA: a prompt-free SAM whose image encoder is frozen but for its adapters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedmed_networks.adapter import AdaptedBlock
from fedmed_networks.image_encoder import ImageEncoder
from fedmed_networks.sam import ModelType, PromptFreeSam, dense_positions, shared_sam
from fedmed_networks.sam_architecture import sam_architecture


class FedMSA(PromptFreeSam):
    """Segments images with SAM, without prompts; adapters in the image encoder train, and the mask decoder.

    The frozen part is shared by all networks of the process that ask for the same foundation, in memory as on a device:
    moving one network moves it for all. Adapters, mask decoder and the 1x1 convolution are this network's own; the
    decoder starts from the foundation's weights, adapters and convolution from torch's random numbers
    (see :class:`fedmed_networks.adapter.Adapter`).

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
    ``load_state_dict`` refuses as :class:`fedmed_networks.FedSAM` does. A state with another frozen part is loaded into
    this network alone, which from then on shares nothing.
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
        architecture = sam_architecture(model_type)
        if architecture.encoder is None:
            raise ValueError(
                "model_type 'tiny_vit': FedMSA expects one of SAM's encoders, there are no adapters for it"
            )
        foundation = shared_sam(model_type, image_size, weights)
        encoder = _with_adapters(foundation.image_encoder, window_padding)
        encoder.checkpointing = checkpointing
        positions = dense_positions(foundation)
        super().__init__(encoder, positions, foundation, architecture, num_classes, image_size, precision)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self._frozen_differs(state_dict, prefix):
            own: dict[int, Any] = {id(value): value for value in self.parameters() if value.requires_grad}
            self.image_encoder = copy.deepcopy(self.image_encoder, own)  # other networks go on with the shared one
            self.prompt_encoder = copy.deepcopy(self.prompt_encoder)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _frozen_differs(self, state: Mapping[str, Any], prefix: str) -> bool:
        frozen = (item for item in self.state_dict(keep_vars=True).items() if not item[1].requires_grad)
        return any(
            prefix + name in state and not torch.equal(value.cpu(), state[prefix + name].cpu())
            for name, value in frozen
        )


def _with_adapters(shared: ImageEncoder, window_padding: str) -> ImageEncoder:
    """An image encoder of the same layers as another, not copies of them, with adapters in its blocks."""
    layers = [shared.pos_embed, shared.patch_embed, shared.blocks, shared.neck]
    encoder = copy.deepcopy(shared, {id(layer): layer for layer in layers})
    encoder.blocks = nn.ModuleList(AdaptedBlock(block, window_padding) for block in shared.blocks)
    return encoder
