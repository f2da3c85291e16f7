"""A run of a comparison: of which method, trained where, with which seed and unseen site, and what it gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedmed_workflows.federation.training import FEDERATED, POOLED


@dataclass(frozen=True, order=True)
class Arm:
    """What is compared: a method, and where its network was trained.

    Attributes
    ----------
    method
        Name of the method in the comparison.
    training
        ``federated``, ``alone`` or ``pooled``.
    """

    method: str
    training: str = FEDERATED

    @property
    def name(self) -> str:
        """As in tables and figures."""
        return self.method if self.training == FEDERATED else f"{self.method}, {self.training}"


@dataclass(frozen=True)
class ComparedRun:
    """A run that is over.

    Attributes
    ----------
    arm
        What it is a run of.
    seed
        Its seed.
    unseen
        Name of the site that was left out of training; None where there was none.
    trained_at
        The site that trained alone, or None.
    result
        The run, as its ``metrics.json`` has it.
    cost
        ``peak_memory_bytes`` of the process while it ran and ``peak_gpu_bytes``; None where they are not known.
    page
        Address of the run's report, relative to the comparison's.
    """

    arm: Arm
    seed: int
    unseen: str | None
    trained_at: str | None
    result: Mapping[str, Any]
    cost: Mapping[str, float | None]
    page: str

    def score(self, site: str, stage: str = "final") -> Mapping[str, Any]:
        """What the run gave at a site; no metrics where it gave nothing."""
        score: Mapping[str, Any] = self.result[stage].get(site, {"metrics": {}})
        return score

    def value(self, site: str, metric: str) -> float | None:
        """A metric at a site after the last round; None where it is not defined."""
        value: float | None = (self.score(site)["metrics"].get(metric) or {}).get("value")
        return value

    @property
    def trained_sites(self) -> list[str]:
        """The sites of the comparison whose training images the network has seen."""
        if self.trained_at is not None:
            return [self.trained_at]
        role = "observed" if self.arm.training == POOLED else "training"
        return [site["name"] for site in self.result["sites"] if site["role"] == role]
