"""Prompt-free SAMs whose image encoder is frozen, but for what a method puts into it."""

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
    """A prompt-free SAM: parts that a method puts into the frozen image encoder train, and the mask decoder.

    The frozen part is shared by all networks of the process that ask for the same foundation, in memory as on a device:
    moving one network moves it for all. What trains is this network's own; the decoder starts from the foundation's
    weights, its 1x1 convolution from torch's random numbers.

    Parameters
    ----------
    adapted
        From the foundation's image encoder to one of the same frozen tensors, not copies of them, in which the method's
        parts train.
    num_classes, model_type, image_size, weights, precision, checkpointing
        As :class:`fedmed_networks.FedSAM` has them, without ``tiny_vit``.

    Raises
    ------
    ValueError
        A parameter is out of its range, or the weights are another network's.

    Notes
    -----
    ``load_state_dict`` refuses as :class:`fedmed_networks.FedSAM` does. A state with another frozen part is loaded into
    this network alone, which from then on shares nothing.
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
            self.image_encoder = copy.deepcopy(self.image_encoder, own)  # other networks go on with the shared one
            self.prompt_encoder = copy.deepcopy(self.prompt_encoder)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _frozen_differs(self, state: Mapping[str, Any], prefix: str) -> bool:
        frozen = (item for item in self.state_dict(keep_vars=True).items() if not item[1].requires_grad)
        return any(
            prefix + name in state and not torch.equal(value.cpu(), state[prefix + name].cpu())
            for name, value in frozen
        )
