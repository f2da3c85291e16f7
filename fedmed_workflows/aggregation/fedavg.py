"""Federated averaging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from fedmed_workflows.exchange import Weights


@dataclass(frozen=True)
class Update:
    """What a site sends after a round.

    Attributes
    ----------
    weights
        The exchanged tensors; a mapping that reads each of them when it is asked for will do.
    samples
        n_k, the number of the site's training samples.
    metrics
        The round's figures of the site, for curves; they do not enter the aggregate.
    """

    weights: Mapping[str, torch.Tensor]
    samples: int
    metrics: dict[str, float] = field(default_factory=dict)


class FedAvg:
    """The mean of the sites' tensors, weighted by n_k / sum n.

    Sums are taken in float64 and in the order of the sites' names, so that the aggregate does not depend on who
    answered first. Integer tensors (a count of batches) are not averaged: the largest is taken.

    Notes
    -----
    Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    arXiv 1602.05629, algorithm 1.
    """

    def __call__(self, updates: Mapping[str, Update]) -> Weights:
        """Aggregates at least one update.

        Raises
        ------
        ValueError
            There is no update, or a site claims a number of samples that is not positive.
        """
        sites = sorted(updates)
        for site in sites:
            if not updates[site].samples > 0:
                raise ValueError(f"{site}: claims {updates[site].samples} samples, expected a positive number")
        if not sites:
            raise ValueError("found no update to aggregate, expected at least one")
        total = sum(updates[site].samples for site in sites)
        return {
            name: _mean((updates[site].weights[name], updates[site].samples / total) for site in sites)
            for name in updates[sites[0]].weights
        }


def _mean(parts: Iterable[tuple[torch.Tensor, float]]) -> torch.Tensor:
    """The mean of (value, share); one value is held at a time, as each may be read from a disk."""
    total: torch.Tensor | None = None
    for value, share in parts:
        real = value.is_floating_point()
        part = value.double() * share if real else value
        if total is None:
            total = part.clone()
        elif real:
            total += part
        else:
            total = torch.maximum(total, part)
    assert total is not None
    return total.to(value.dtype)
