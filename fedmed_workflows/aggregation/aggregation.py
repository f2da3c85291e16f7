"""What every aggregation is: from the sites' updates to the next aggregate, one tensor at a time."""

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
    """What the server has of the round before.

    Attributes
    ----------
    weights
        The aggregate that the sites trained from. Its names are those of every update.
    state
        The aggregation's own tensors, by the names of :meth:`Aggregation.state_specs`; none before round 1.
    statistics
        Names of the tensors that no optimiser trains: the statistics of normalisations.
    """

    weights: Mapping[str, torch.Tensor]
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)
    statistics: AbstractSet[str] = frozenset()


class Aggregated(NamedTuple):
    """A tensor of the next aggregate, in the type it is sent in, and the aggregation's own tensors to it."""

    name: str
    value: torch.Tensor
    state: Weights


class Aggregation(ABC):
    """A pure function of the sites' updates and of what the server has of the round before.

    It yields one tensor at a time and reads of an update what it needs for it, so that the memory it takes grows
    neither with the number of sites nor with the size of their updates. Sums are taken in float64 and in the order of
    the sites' names: the aggregate does not depend on who answered first. Its attributes are its arguments, plain
    values all of them: a job of NVFlare names them.

    Attributes
    ----------
    local_normalization
        Whether the normalisations that train stay at their sites.
    notes
        What a report's reader has to know of it.
    """

    local_normalization: ClassVar[bool] = False
    notes: ClassVar[tuple[str, ...]] = ()

    @property
    def least_sites(self) -> int:
        """Sites that must contribute to a round, or the aggregate means nothing."""
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
        """Shape and type by name of what the server keeps between rounds."""
        return {}

    @abstractmethod
    def aggregate(self, updates: Mapping[str, Update], before: Before) -> Iterator[Aggregated]:
        """The next aggregate, every tensor of ``before.weights``.

        Raises
        ------
        ValueError
            There are too few updates, or a site claims a number of samples that is not positive.
        """

    def in_order(self, updates: Mapping[str, Update]) -> dict[str, Update]:
        """Enough updates, in the order of the sites' names; raises as :meth:`aggregate`."""
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
"""Values of all sites together that are in memory at a time: 16 MB in float64."""


def pieces(name: str, updates: Mapping[str, Update], count: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """A tensor of every site, piece by piece; what lies on a disk is asked for anew, so that only the piece is read.

    Parameters
    ----------
    name
        Of the tensor.
    updates
        n of them, in their order.
    count
        Number of its values.

    Yields
    ------
    tuple
        Which of the values, and (n, values) of their own type.
    """
    sent = [update.weights for update in updates.values()]
    held = [weights if isinstance(weights, FileWeights) else {name: weights[name]} for weights in sent]
    length = max(1, PIECE // len(updates))
    for start in range(0, count, length):
        part = slice(start, min(start + length, count))
        yield part, torch.stack([weights[name].flatten()[part] for weights in held])
