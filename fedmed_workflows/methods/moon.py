"""MOON: a term that pulls features towards the received network's, and away from the site's previous network's."""

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
    """Adds mu times a contrast of three networks' features to the loss of every step; a handler of MONAI's trainer.

    The term is the cross-entropy of [cos(z, z_received), cos(z, z_previous)] / temperature with target 0, averaged over
    the batch. All three are features of the same images:

    - z of the network that trains;
    - z_received of the network at the start of the round's training;
    - z_previous of the site's network at the end of its last round; of the received network in its first round.

    z_received and z_previous are computed in evaluation mode and have no gradient. The previous network is the
    handler's state; it stays at the site.

    Parameters
    ----------
    network
        The network that the trainer trains.
    submodule
        Name of the submodule that computes z: (B, D), or (B, D, ...), averaged over all positions. The inputs of the
        submodule must not depend on parameters that train.
    mu
        Weight of the term, at least 0.
    temperature
        Temperature of the cosines, above 0.

    Raises
    ------
    ValueError
        A parameter is out of its range, the network has no such submodule, or the submodule has no trainable tensors.

    Notes
    -----
    Source: Li et al., "Model-contrastive federated learning", arXiv 2103.16257, equation 3.

    Examples
    --------
    >>> from torch import nn
    >>> from fedmed_workflows import MOON
    >>> moon = MOON(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), submodule="0", mu=1.0)
    >>> moon.state_dict()  # .attach(trainer) adds the term to the trainer's loss
    {'previous': {}}
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
        """Computes mu times the contrast of the last step's features, with gradient; a scalar."""
        if not self._step:
            raise ValueError("submodule: found no pass of it with gradient in the step, expected the one of its images")
        inputs, features = self._step[0]
        own = _pooled(features)
        others = [self._features(state, inputs) for state in (self._received, self._previous or self._received)]
        cosines = torch.stack([functional.cosine_similarity(own, other, dim=1) for other in others], dim=1)  # (B, 2)
        target = torch.zeros(len(own), dtype=torch.long, device=own.device)  # (B,)
        return self.mu * functional.cross_entropy(cosines / self.temperature, target)

    def state_dict(self) -> dict[str, Any]:
        """Returns the trainable tensors of the previous submodule; empty before the end of the first round."""
        return {"previous": self._previous}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Loads a state of :meth:`state_dict`."""
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
        if features.requires_grad:  # passes of the target and of the compared networks have no gradient
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
    """Averages features over all positions: (B, D, ...) -> (B, D)."""
    return features.flatten(2).mean(dim=2) if features.ndim > 2 else features
