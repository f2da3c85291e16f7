"""FedYogi: Yogi's step on the server."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fedmed_workflows.aggregation.fedadam import FedAdam


@dataclass(frozen=True)
class FedYogi(FedAdam):
    """Steps with Yogi on the server: :class:`FedAdam` with another rule for the second moment.

    v(t) = v(t-1) - (1 - beta_2) delta(t)^2 sign(v(t-1) - delta(t)^2). A change of v is as large as (1 - beta_2)
    delta(t)^2, whatever v itself is. Settings and errors are those of FedAdam.

    Notes
    -----
    Source: Reddi et al., "Adaptive Federated Optimization", arXiv 2003.00295, algorithm 2.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import Update
    >>> from fedmed_workflows.aggregation import Before, FedYogi
    >>> updates = {"a": Update({"w": torch.tensor([1.0])}, 30), "b": Update({"w": torch.tensor([5.0])}, 10)}
    >>> next(FedYogi(learning_rate=0.1).aggregate(updates, Before({"w": torch.zeros(1)}))).value
    tensor([0.0995])
    """

    def second_moment(self, last: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
        """Returns v(t), computed from v(t-1) and delta(t)^2."""
        return last - (1 - self.beta_2) * square * (last - square).sign()
