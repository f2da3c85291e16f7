"""FedAdam: Adam's step on the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fedmed_networks.settings import check_number
from fedmed_workflows.aggregation.server_optimizer import ServerOptimizer
from fedmed_workflows.exchange.weights import Weights

FIRST, SECOND = "first_moment", "second_moment"


@dataclass(frozen=True)
class FedAdam(ServerOptimizer):
    """Steps with Adam on the server, without bias correction, as published.

    m(t) = beta_1 m(t-1) + (1 - beta_1) delta(t); v(t) = beta_2 v(t-1) + (1 - beta_2) delta(t)^2;
    x(t+1) = x(t) + learning_rate * m(t) / (sqrt(v(t)) + adaptivity); before round 1, m = 0 and v = adaptivity^2.

    Parameters
    ----------
    learning_rate
        Learning rate of the server, above 0.
    beta_1, beta_2
        Decay of the first and the second moment, in [0, 1).
    adaptivity
        tau, the degree of adaptivity, above 0. With a smaller value the steps of all parameters become more alike.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Reddi et al., "Adaptive Federated Optimization", arXiv 2003.00295, algorithm 2. The learning rate has to be
    tuned, as in the paper.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, FedAdam
    >>> updates = {"a": Update({"w": torch.tensor([1.0])}, 30), "b": Update({"w": torch.tensor([5.0])}, 10)}
    >>> next(FedAdam(learning_rate=0.1).aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([0.0995])
    """

    learning_rate: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.99
    adaptivity: float = 0.001

    moments: ClassVar[tuple[str, ...]] = (FIRST, SECOND)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("aggregation: beta_1", self.beta_1, least=0, below=1)
        check_number("aggregation: beta_2", self.beta_2, least=0, below=1)
        check_number("aggregation: adaptivity", self.adaptivity, above=0)

    def start(self, moment: str) -> float:
        """Returns 0 for the first moment and tau^2 for the second."""
        return self.adaptivity**2 if moment == SECOND else 0.0

    def direction(self, delta: torch.Tensor, last: Weights) -> tuple[torch.Tensor, Weights]:
        """Returns the first moment over the root of the second, and both moments as new state."""
        first = self.beta_1 * last[FIRST] + (1 - self.beta_1) * delta
        second = self.second_moment(last[SECOND], delta.square())
        return first / (second.sqrt() + self.adaptivity), {FIRST: first, SECOND: second}

    def second_moment(self, last: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        """Returns v(t), computed from v(t-1) and delta(t)^2."""
        return self.beta_2 * last + (1 - self.beta_2) * square
