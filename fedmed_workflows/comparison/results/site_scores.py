"""What the runs of a comparison gave at each site, seed by seed, and the mean and interval over the seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.evaluation.bootstrap import LEVEL

UNSEEN, TRAINING = "unseen", "training"
"""What a site was to a network: left out of its training, and then judged by all its images; or among those that it
was trained on, and then judged by its own test images."""


@dataclass(frozen=True, order=True)
class Place:
    """A site, and what it was to the networks that were judged there."""

    site: str
    role: str


SeedValues = dict[Arm, dict[Place, dict[int, float]]]
"""A metric by arm, place and seed. A value that is not defined is left out."""


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds with its interval.

    Attributes
    ----------
    mean
        None where no seed has a value.
    low, high
        95% interval of Student's t; None of fewer than two seeds.
    seeds
        How many have a value.
    """

    mean: float | None
    low: float | None
    high: float | None
    seeds: int


def seed_values(runs: Iterable[ComparedRun], metric: str) -> SeedValues:
    """A metric of every arm at every place, seed by seed.

    A site that takes part in several runs of a seed, which differ in the unseen site or in the site that trained alone,
    counts with the mean over them. Of networks that were trained at one site alone, that site's own tests count as
    ``training``, and the unseen site's as ``unseen``.
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
    """Mean and Student's t interval of values of different seeds."""
    count = len(values)
    mean = float(np.mean(values)) if count else None
    if mean is None or count < 2:
        return SeedMean(mean, None, None, count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return SeedMean(mean, mean - half, mean + half, count)


def over_places(values: Mapping[Place, Mapping[int, float]], role: str) -> list[float]:
    """By seed, the mean over the places of a role, every site alike; seeds that lack a site are left out."""
    places = [seeds for place, seeds in values.items() if place.role == role]
    common = sorted(set.intersection(*(set(seeds) for seeds in places))) if places else []
    return [float(np.mean([seeds[seed] for seeds in places])) for seed in common]


@dataclass(frozen=True)
class Fairness:
    """How evenly a method serves the sites.

    Attributes
    ----------
    worst
        The lowest of the sites' means over the seeds, of a metric of which more is better; else the highest.
    site
        The site that has it.
    spread
        Standard deviation over the sites' means; None of one site.
    """

    worst: float | None
    site: str | None
    spread: float | None


def fairness(values: Mapping[Place, Mapping[int, float]], role: str, lower_is_better: bool = False) -> Fairness:
    """The worst site and the spread over the sites of a role, as Li et al., "Fair Resource Allocation in Federated
    Learning", arXiv 1905.10497, judge fairness."""
    means = {place.site: float(np.mean([*seeds.values()])) for place, seeds in values.items() if place.role == role}
    if not means:
        return Fairness(None, None, None)
    site = (max if lower_is_better else min)(sorted(means), key=means.__getitem__)
    return Fairness(means[site], site, float(np.std([*means.values()], ddof=1)) if len(means) > 1 else None)
