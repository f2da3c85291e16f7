"""Adds the term of a method to the loss of a training step, for any network and any loss."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.utils import CommonKeys


def add_to_loss(trainer: Engine, term: torch.Tensor) -> None:
    """Adds a scalar to the loss of the step, before the gradients are computed.

    Handlers of a :class:`monai.engines.SupervisedTrainer` call it at the event ``LOSS_COMPLETED``.
    """
    trainer.state.output[CommonKeys.LOSS] = trainer.state.output[CommonKeys.LOSS] + term
