"""FedProx: a term that keeps the weights of a site near those that it received."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn

from fedmed_networks.settings import check_number
from fedmed_workflows.exchange.trainable import trainable_parameters
from fedmed_workflows.methods.added_loss import add_to_loss


class FedProx:
    """Adds mu/2 ||w - w_received||^2 to the loss of every step; a handler of MONAI's trainer.

    w are all parameters that train, w_received their values when the training of the round started.

    Parameters
    ----------
    network
        The network that the trainer trains.
    mu
        Weight of the term, 0 or more.

    Raises
    ------
    ValueError
        `mu` is out of its range.

    Notes
    -----
    Source: Li et al., "Federated optimization in heterogeneous networks", arXiv 1812.06127, equation 2.

    Examples
    --------
    >>> from torch import nn
    >>> from fedmed_workflows import FedProx
    >>> FedProx(nn.Linear(4, 2), mu=0.1).mu  # .attach(trainer) adds the term to the trainer's loss
    0.1
    """

    def __init__(self, network: nn.Module, mu: float = 0.01) -> None:
        check_number("mu", mu, least=0)
        self.network, self.mu = network, mu
        self._received: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to a supervised trainer."""
        engine.add_event_handler(Events.STARTED, self._receive)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, lambda trainer: add_to_loss(trainer, self.term()))
        engine.add_event_handler(Events.COMPLETED, lambda _: self._received.clear())

    def term(self) -> torch.Tensor:
        """Computes mu/2 ||w - w_received||^2, with gradient; a scalar."""
        pairs = zip(trainable_parameters(self.network), self._received, strict=True)
        return self.mu / 2 * torch.stack([(now - received).square().sum() for now, received in pairs]).sum()

    def _receive(self, _: Engine) -> None:
        self._received = [value.detach().clone() for value in trainable_parameters(self.network)]
