"""Paired tests between methods, over the same seeds and sites, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from fedmed_workflows.comparison.results.compared_run import Arm
from fedmed_workflows.comparison.results.site_scores import UNSEEN, Place, SeedMean, SeedValues, seed_mean
from fedmed_workflows.federation.training import FEDERATED

LEAST_PAIRS = 6
"""Smallest number of pairs for a test: with fewer, the signed-rank test cannot give p below 0.05 (2 / 2⁵ is 0.0625)."""

DIGITS = 12
"""Decimal places of a difference; further digits are rounding errors of the means."""


@dataclass(frozen=True)
class PairedTest:
    """A paired test of two arms over the same seeds and sites.

    Attributes
    ----------
    first, second
        The arms.
    pairs
        n, the number of values that both arms have for the same seed and site.
    difference
        Mean of first minus second with its 95% t interval over the pairs (``seeds`` is n).
    wilcoxon, t
        p of Wilcoxon's signed-rank test and of the paired t test, two-sided; None if refused.
    wilcoxon_holm, t_holm
        The same values, corrected for the number of tests on the page.
    refused
        The reason why there is no p, or an empty text.
    """

    first: Arm
    second: Arm
    pairs: int
    difference: SeedMean
    wilcoxon: float | None = None
    t: float | None = None
    wilcoxon_holm: float | None = None
    t_holm: float | None = None
    refused: str = ""


def paired_tests(values: SeedValues) -> list[PairedTest]:
    """Tests all pairs of federated methods, and for each method all pairs of its ways of training.

    A pair has the same seed and unseen site; without unseen sites, the same seed and training site.
    """
    role = UNSEEN if any(place.role == UNSEEN for places in values.values() for place in places) else None
    tests = [
        _tested(first, second, _differences(values[first], values[second], role))
        for first, second in combinations(values, 2)
        if first.method == second.method or first.training == second.training == FEDERATED
    ]
    corrected = zip(holm([test.wilcoxon for test in tests]), holm([test.t for test in tests]), strict=True)
    return [
        replace(test, wilcoxon_holm=wilcoxon, t_holm=t) for test, (wilcoxon, t) in zip(tests, corrected, strict=True)
    ]


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values for their number; None stays None and is not counted.

    Notes
    -----
    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979: the k-th smallest of m times
    m − k + 1, at least the one before it, at most 1.
    """
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    before = 0.0
    for rank, (value, index) in enumerate(order):
        before = max(before, min(1.0, value * (len(order) - rank)))
        corrected[index] = before
    return corrected


def _differences(
    first: Mapping[Place, Mapping[int, float]], second: Mapping[Place, Mapping[int, float]], role: str | None
) -> list[float]:
    places = [place for place in sorted({*first} & {*second}) if role is None or place.role == role]
    pairs = [(first[place], second[place]) for place in places]
    return [round(own[seed] - other[seed], DIGITS) for own, other in pairs for seed in sorted({*own} & {*other})]


def _tested(first: Arm, second: Arm, differences: list[float]) -> PairedTest:
    test = PairedTest(first, second, len(differences), seed_mean(differences))
    if len(differences) < LEAST_PAIRS:
        return replace(test, refused=f"n is below {LEAST_PAIRS}")
    if np.ptp(differences) == 0:
        return replace(test, refused="every difference is the same")
    t = float(stats.ttest_1samp(differences, 0).pvalue)
    if np.count_nonzero(differences) < LEAST_PAIRS:
        return replace(test, t=t, refused=f"fewer than {LEAST_PAIRS} pairs differ: no signed-rank test")
    return replace(test, t=t, wilcoxon=float(stats.wilcoxon(differences).pvalue))
