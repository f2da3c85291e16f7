"""Scores of a comparison at each site: by seed, and mean and interval over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.evaluation.bootstrap import LEVEL

UNSEEN, TRAINING = "unseen", "training"
"""Role of a site for a network: left out of training and tested with all its images; or a training site, tested with
its own test images."""


@dataclass(frozen=True, order=True)
class Place:
    """A site and its role for the networks that were tested there."""

    site: str
    role: str


SeedValues = dict[Arm, dict[Place, dict[int, float]]]
"""Values of a metric by arm, place and seed, without undefined values."""


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds with its interval.

    Attributes
    ----------
    mean
        The mean; None if no seed has a value.
    low, high
        95% interval of Student's t; None for fewer than two seeds.
    seeds
        Number of seeds with a value.
    """

    mean: float | None
    low: float | None
    high: float | None
    seeds: int


def seed_values(runs: Iterable[ComparedRun], metric: str) -> SeedValues:
    """Collects the values of a metric by arm, place and seed.

    A site may take part in several runs of a seed, which differ in the unseen site or in the site that trained alone.
    Then the mean over these runs counts. For networks that were trained at one site alone, the tests of this site count
    as ``training`` and those of the unseen site as ``unseen``.
    """
    found: dict[tuple[Arm, Place, int], list[float]] = {}
    for run in runs:
        places = [Place(site, TRAINING) for site in run.trained_sites]
        for place in [*places, *([Place(run.unseen, UNSEEN)] if run.unseen else [])]:
            value = run.value(place.site, metric)
            if value is not None:
                found.setdefault((run.arm, place, run.seed), []).append(value)
    values: SeedValues = {run.arm: {} for run in runs}
    for (arm, place, seed), numbers in found.items():
        values[arm].setdefault(place, {})[seed] = float(np.mean(numbers))
    return values


def seed_mean(values: Sequence[float]) -> SeedMean:
    """Computes mean and Student's t interval of the values of different seeds."""
    count = len(values)
    mean = float(np.mean(values)) if count else None
    if mean is None or count < 2:
        return SeedMean(mean, None, None, count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return SeedMean(mean, mean - half, mean + half, count)


def over_places(values: Mapping[Place, Mapping[int, float]], role: str) -> list[float]:
    """Computes, for each seed with all sites, the mean over the places of a role with equal weights."""
    places = [seeds for place, seeds in values.items() if place.role == role]
    common = sorted(set.intersection(*(set(seeds) for seeds in places))) if places else []
    return [float(np.mean([seeds[seed] for seeds in places])) for seed in common]


@dataclass(frozen=True)
class Fairness:
    """The fairness of a method over the sites.

    Attributes
    ----------
    worst
        The worst of the sites' means over the seeds: the lowest, or the highest if lower is better.
    site
        The site with this mean.
    spread
        Standard deviation over the sites' means; None for one site.
    """

    worst: float | None
    site: str | None
    spread: float | None


def fairness(values: Mapping[Place, Mapping[int, float]], role: str, lower_is_better: bool = False) -> Fairness:
    """Computes the worst site and the spread over the sites of a role.

    Notes
    -----
    Source: Li et al., "Fair Resource Allocation in Federated Learning", arXiv 1905.10497.
    """
    means = {place.site: float(np.mean([*seeds.values()])) for place, seeds in values.items() if place.role == role}
    if not means:
        return Fairness(None, None, None)
    site = (max if lower_is_better else min)(sorted(means), key=means.__getitem__)
    return Fairness(means[site], site, float(np.std([*means.values()], ddof=1)) if len(means) > 1 else None)
