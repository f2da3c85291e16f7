"""The base of prompt-free SAMs with a frozen image encoder, into which a method puts trainable parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from fedmed_networks.sam.architecture import sam_architecture
from fedmed_networks.sam.foundation import ModelType, PromptFreeSam, dense_positions, shared_sam
from fedmed_networks.sam.image_encoder import ImageEncoder


class FrozenEncoderSam(PromptFreeSam):
    """Segments images with SAM without prompts; the mask decoder and a method's parts of the image encoder train.

    All networks of the process with the same foundation share the frozen part, in memory and on a device: moving one
    network moves the frozen part of all. The trainable part belongs to this network alone. The decoder starts from the
    weights of the foundation, its 1x1 convolution from torch's random numbers.

    Parameters
    ----------
    adapted
        From the foundation's image encoder to an encoder that shares its frozen tensors and has the method's parts.
    num_classes, model_type, image_size, weights, precision, checkpointing
        See :class:`fedmed_networks.FedSAM`; ``tiny_vit`` is refused.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the weights are those of another network.

    Notes
    -----
    ``load_state_dict`` refuses the same states as :class:`fedmed_networks.FedSAM`. A state with another frozen part is
    loaded into a copy of it, so that this network no longer shares its frozen part.
    """

    def __init__(
        self,
        adapted: Callable[[ImageEncoder], ImageEncoder],
        num_classes: int,
        model_type: ModelType,
        image_size: int,
        weights: str | Path | None,
        precision: str,
        checkpointing: bool,
    ) -> None:
        architecture = sam_architecture(model_type)
        if architecture.encoder is None:
            expected = f"{type(self).__name__} expects one of SAM's encoders, there are no adapters for it"
            raise ValueError(f"model_type {model_type!r}: {expected}")
        foundation = shared_sam(model_type, image_size, weights)
        encoder = adapted(foundation.image_encoder)
        encoder.checkpointing = checkpointing
        positions = dense_positions(foundation)
        super().__init__(encoder, positions, foundation, architecture, num_classes, image_size, precision)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self._frozen_differs(state_dict, prefix):
            own: dict[int, Any] = {id(value): value for value in self.parameters() if value.requires_grad}
            self.image_encoder = copy.deepcopy(self.image_encoder, own)  # other networks keep the shared one
            self.prompt_encoder = copy.deepcopy(self.prompt_encoder)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _frozen_differs(self, state: Mapping[str, Any], prefix: str) -> bool:
        frozen = (item for item in self.state_dict(keep_vars=True).items() if not item[1].requires_grad)
        return any(
            prefix + name in state and not torch.equal(value.cpu(), state[prefix + name].cpu())
            for name, value in frozen
        )
