"""A finished run of a comparison: method, place of training, seed, unseen site and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedmed_workflows.federation.training import FEDERATED, POOLED


@dataclass(frozen=True, order=True)
class Arm:
    """An arm of a comparison: a method and its way of training.

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
        """The arm's name in tables and figures."""
        return self.method if self.training == FEDERATED else f"{self.method}, {self.training}"


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes
    ----------
    arm
        The method and its way of training.
    seed
        The seed of the run.
    unseen
        Name of the site that was left out of training, or None.
    trained_at
        The site that trained alone, or None.
    result
        The content of the run's ``metrics.json``.
    cost
        ``peak_memory_bytes`` of the process and ``peak_gpu_bytes`` during the run; None if unknown.
    page
        Path of the run's report, relative to the comparison's page.
    """

    arm: Arm
    seed: int
    unseen: str | None
    trained_at: str | None
    result: Mapping[str, Any]
    cost: Mapping[str, float | None]
    page: str

    def score(self, site: str, stage: str = "final") -> Mapping[str, Any]:
        """The run's score at a site; without metrics if the run has none there."""
        score: Mapping[str, Any] = self.result[stage].get(site, {"metrics": {}})
        return score

    def value(self, site: str, metric: str) -> float | None:
        """The value of a metric at a site after the last round; None if it is not defined."""
        value: float | None = (self.score(site)["metrics"].get(metric) or {}).get("value")
        return value

    @property
    def trained_sites(self) -> list[str]:
        """The sites of the comparison with training images that the network has seen."""
        if self.trained_at is not None:
            return [self.trained_at]
        role = "observed" if self.arm.training == POOLED else "training"
        return [site["name"] for site in self.result["sites"] if site["role"] == role]
