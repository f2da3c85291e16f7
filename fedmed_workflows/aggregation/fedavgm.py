"""FedAvgM: federated averaging with momentum on the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fedmed_networks.settings import check_number
from fedmed_workflows.aggregation.server_optimizer import ServerOptimizer
from fedmed_workflows.exchange.weights import Weights


@dataclass(frozen=True)
class FedAvgM(ServerOptimizer):
    """Steps with momentum on the server: m(t) = momentum * m(t-1) + delta(t), x(t+1) = x(t) + learning_rate * m(t).

    With momentum 0 and learning rate 1 the aggregate is that of :class:`fedmed_workflows.aggregation.FedAvg`.

    Parameters
    ----------
    learning_rate
        Learning rate of the server, above 0.
    momentum
        Share of the last momentum, in [0, 1).

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification",
    arXiv 1909.06335, section 4.3, where delta has the opposite sign.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, FedAvgM
    >>> updates = {"a": Update({"w": torch.tensor([1.0])}, 30), "b": Update({"w": torch.tensor([5.0])}, 10)}
    >>> next(FedAvgM(learning_rate=0.5).aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([1.])
    """

    learning_rate: float = 1.0
    momentum: float = 0.9

    moments: ClassVar[tuple[str, ...]] = ("momentum",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("aggregation: momentum", self.momentum, least=0, below=1)

    def direction(self, delta: torch.Tensor, last: Weights) -> tuple[torch.Tensor, Weights]:
        """Returns the momentum as direction and as new state."""
        momentum = self.momentum * last["momentum"] + delta
        return momentum, {"momentum": momentum}
