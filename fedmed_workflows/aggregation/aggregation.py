"""The base of every aggregation: it makes the next aggregate of the sites' updates, one tensor at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch

from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import FileWeights, TensorSpecs, Update, Weights


@dataclass(frozen=True)
class Before:
    """The server's tensors after the round before.

    Attributes
    ----------
    weights
        The aggregate that the sites trained from. Every update has the same names.
    state
        The aggregation's own tensors, by the names of :meth:`Aggregation.state_specs`; empty before round 1.
    statistics
        Names of the tensors that no optimiser trains: the statistics of normalisations.
    """

    weights: Mapping[str, torch.Tensor]
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    statistics: AbstractSet[str] = frozenset()


class Aggregated(NamedTuple):
    """A tensor of the next aggregate, in the type in which it is sent, and the aggregation's state for it."""

    name: str
    value: torch.Tensor
    state: Weights


class Aggregation(ABC):
    """A pure function of the sites' updates and of the server's tensors after the round before.

    An aggregation yields one tensor at a time and reads only the part of each update that it needs for this tensor.
    The memory it takes grows neither with the number of sites nor with the size of their updates. Sums are taken in
    float64 and in the order of the sites' names, so the aggregate does not depend on which site answered first. The
    attributes of an aggregation are its arguments, all of them plain values: a job of NVFlare writes them down.

    Attributes
    ----------
    local_normalization
        Whether the normalisations that train stay at their sites.
    notes
        Remarks on the aggregation for the report's reader.
    """

    local_normalization: ClassVar[bool] = False
    notes: ClassVar[tuple[str, ...]] = ()

    @property
    def least_sites(self) -> int:
        """The least number of sites that a round needs for a meaningful aggregate."""
        return 1

    def check(self, min_sites: int) -> None:
        """Refuses a federation whose rounds may have fewer sites than the aggregation needs.

        Raises
        ------
        ValueError
            `min_sites`, the sites that must contribute to every round, is too small.
        """
        if min_sites < self.least_sites:
            raise ValueError(
                f"aggregation {type(self).__name__}: found rounds of {min_sites} sites (min_sites), "
                f"expected at least {self.least_sites} for {self._settings()}"
            )

    def state_specs(self, manifest: Manifest) -> TensorSpecs:
        """Returns shape and type of the tensors that the server keeps between rounds, by name."""
        return {}

    @abstractmethod
    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """Yields the next aggregate: every tensor of ``before.weights``, in this order.

        Raises
        ------
        ValueError
            There are too few updates, or a site claims a number of samples that is not positive.
        """

    def in_order(self, updates: Mapping[str, Update]) -> dict[str, Update]:
        """Returns the updates in the order of the sites' names; refuses too few of them as :meth:`aggregate` does."""
        for site in sorted(updates):
            if not updates[site].samples > 0:
                raise ValueError(f"{site}: claims {updates[site].samples} samples, expected a positive number")
        if len(updates) < self.least_sites:
            found = f"{len(updates)} updates" if updates else "no update"
            raise ValueError(
                f"aggregation {type(self).__name__}: found {found}, expected at least {self.least_sites}"
                f" for {self._settings()}"
            )
        return dict(sorted(updates.items()))

    def _settings(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in sorted(vars(self).items())) or "an aggregate"


PIECE = 1 << 21
"""Number of values of all sites together that are in memory at a time: 16 MB in float64."""


def pieces(name: str, updates: Mapping[str, Update], count: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yields one tensor of all sites, piece by piece.

    A tensor in a file is read again for every piece, so that only one piece of it is in memory.

    Parameters
    ----------
    name
        Name of the tensor.
    updates
        The n updates, in the order of the rows.
    count
        Number of values of the tensor.

    Yields
    ------
    tuple
        The slice of the flat tensor, and its values (n, length), in the type in which they were sent.
    """
    sent = [update.weights for update in updates.values()]
    held = [weights if isinstance(weights, FileWeights) else {name: weights[name]} for weights in sent]
    length = max(1, PIECE // len(updates))
    for start in range(0, count, length):
        part = slice(start, min(start + length, count))
        yield part, torch.stack([weights[name].flatten()[part] for weights in held])  # (n, length)
