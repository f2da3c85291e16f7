"""MOON: a term that draws a site's features to the received network's, and away from its own previous network's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from fedmed_networks.settings import check_number
from fedmed_workflows.exchange.trainable import trainable_tensors
from fedmed_workflows.methods.added_loss import add_to_loss

State = dict[str, torch.Tensor]


class MOON:
    """A handler that adds mu times a contrast of the features z of three networks to the loss of every step.

    The term is the cross-entropy of [cos(z, z_received), cos(z, z_previous)] / temperature with target 0, averaged over
    the batch. z are the features of the network that trains; z_received those of the same images by the network as the
    round's training started, z_previous by the site's own network at the end of the round that it last took part in, in
    its first round the received one. Both compute in evaluation mode and carry no gradient.

    The previous network is the handler's state; it stays at the site.

    Parameters
    ----------
    network
        What the trainer trains.
    submodule
        Name in the network of the module whose answer z is: (B, D), or (B, D, ...), averaged over all positions. What
        it is given must not depend on anything that trains.
    mu
        Weight of the term, 0 or more.
    temperature
        Above 0.

    Raises
    ------
    ValueError
        A parameter is out of its range, the network has no such submodule, or nothing of it trains.

    Notes
    -----
    Source: Li et al., "Model-contrastive federated learning", arXiv 2103.16257, equation 3.
    """

    def __init__(self, network: nn.Module, submodule: str, mu: float = 1.0, temperature: float = 0.5) -> None:
        check_number("mu", mu, least=0)
        check_number("temperature", temperature, above=0)
        self.mu, self.temperature = mu, temperature
        self.module = _submodule(network, submodule)
        self._received: State = {}
        self._previous: State = {}
        self._step: list[tuple[tuple[Any, ...], torch.Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to a supervised trainer."""
        engine.add_event_handler(Events.STARTED, self._receive)
        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: self._step.clear())
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, lambda trainer: add_to_loss(trainer, self.term()))
        engine.add_event_handler(Events.COMPLETED, self._keep)
        self.module.register_forward_hook(self._notice)

    def term(self) -> torch.Tensor:
        """mu times the contrast of the last step's features, with gradient; a scalar."""
        if not self._step:
            raise ValueError("submodule: found no pass of it with gradient in the step, expected the one of its images")
        inputs, features = self._step[0]
        own = _pooled(features)
        others = [self._features(state, inputs) for state in (self._received, self._previous or self._received)]
        cosines = torch.stack([functional.cosine_similarity(own, other, dim=1) for other in others], dim=1)
        target = torch.zeros(len(own), dtype=torch.long, device=own.device)
        return self.mu * functional.cross_entropy(cosines / self.temperature, target)

    def state_dict(self) -> dict[str, Any]:
        """The previous network: the tensors of the submodule that train; none before the first round's end."""
        return {"previous": self._previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up a state of :meth:`state_dict`."""
        self._previous = dict(state["previous"])

    @torch.no_grad()
    def _features(self, state: State, inputs: tuple[Any, ...]) -> torch.Tensor:
        modes = {module: module.training for module in self.module.modules()}
        self.module.eval()
        try:
            return _pooled(functional_call(self.module, state, inputs))
        finally:
            for module, mode in modes.items():
                module.training = mode

    def _notice(self, _: nn.Module, inputs: tuple[Any, ...], features: torch.Tensor) -> None:
        if features.requires_grad:  # neither a pass for the target, nor one of the networks compared with
            self._step.append((inputs, features))

    def _receive(self, _: Engine) -> None:
        self._received = {name: value.detach().clone() for name, value in trainable_tensors(self.module).items()}

    def _keep(self, _: Engine) -> None:
        self._previous = {name: value.detach().clone() for name, value in trainable_tensors(self.module).items()}
        self._received, self._step = {}, []


def _submodule(network: nn.Module, name: str) -> nn.Module:
    try:
        module = network.get_submodule(name)
    except AttributeError as error:
        known = [child for child, _ in network.named_children()]
        raise ValueError(f"submodule: {type(network).__name__} has no {name!r}, only {known} and theirs") from error
    if not trainable_tensors(module):
        raise ValueError(f"submodule {name!r} of {type(network).__name__}: found nothing in it that trains")
    return module


def _pooled(features: torch.Tensor) -> torch.Tensor:
    """(B, D, ...) -> (B, D)."""
    return features.flatten(2).mean(dim=2) if features.ndim > 2 else features
