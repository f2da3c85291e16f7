"""What a method adds to the loss of a training step, whatever the network and its own loss are."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from monai.utils import CommonKeys


def add_to_loss(trainer: Engine, term: torch.Tensor) -> None:
    """Adds a scalar to the step's loss, before its gradients are computed.

    For handlers of a :class:`monai.engines.SupervisedTrainer`, at its event ``LOSS_COMPLETED``.
    """
    trainer.state.output[CommonKeys.LOSS] = trainer.state.output[CommonKeys.LOSS] + term
