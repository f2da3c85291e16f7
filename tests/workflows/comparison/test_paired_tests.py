"""Paired tests: what is paired, p by hand, the correction for many, and where there is no p."""

from __future__ import annotations

import functools
import operator

import pytest
from scipy import stats

from fedmed_workflows.comparison.results.compared_run import Arm
from fedmed_workflows.comparison.results.paired_tests import holm, paired_tests
from fedmed_workflows.comparison.results.site_scores import UNSEEN, Place, SeedValues

A, B, C, ALONE = Arm("a"), Arm("b"), Arm("c"), Arm("a", "alone")
EAST, WEST = Place("east", UNSEEN), Place("west", UNSEEN)


def values(*numbers: float) -> dict[Place, dict[int, float]]:
    """Seven of them: seeds 0 to 3 in the east, 0 to 2 in the west; fewer: of the east alone."""
    return {EAST: dict(enumerate(numbers[:4])), **({WEST: dict(enumerate(numbers[4:]))} if numbers[4:] else {})}


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.5]) == pytest.approx([0.04, 0.09, None, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_seeds_and_sites_are_paired() -> None:
    first = values(0.5, 0.6, 0.7, 0.8, 0.5, 0.6, 0.7)
    second = values(0.4, 0.4, 0.4, 0.4, 0.0, 0.0, 0.71)
    (test,) = paired_tests({A: first, B: second})
    differences = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -0.01]
    assert test.pairs == 7 and test.difference.mean == pytest.approx(sum(differences) / 7)
    # Only the smallest is negative, with rank 1: of the 2^7 signs of the ranks, two have a sum of at most 1 on a side.
    assert test.wilcoxon == pytest.approx(2 * 2 / 2**7)
    assert test.t == pytest.approx(stats.ttest_rel(_flat(first), _flat(second)).pvalue)
    assert test.wilcoxon_holm == test.wilcoxon and test.refused == ""


def _flat(places: dict[Place, dict[int, float]]) -> list[float]:
    return [value for seeds in places.values() for value in seeds.values()]


def test_the_rounding_of_means_is_no_difference() -> None:
    shares = [17 / 36, 25 / 36, 5 / 36, 7 / 36, 17 / 36, 25 / 36, 5 / 36]
    means = [functools.reduce(operator.add, [share] * 7) / 7 for share in shares]  # from Python 3.12 sum() rounds once
    assert sum(mean != share for mean, share in zip(means, shares, strict=True)) > 3
    (test,) = paired_tests({A: values(*shares), B: values(*means)})
    assert test.difference.mean == 0 and test.t is None and test.refused == "every difference is the same"


def test_all_tests_on_the_page_are_corrected_together() -> None:
    low, high = values(*[0.1] * 7), values(*(0.2 + i / 100 for i in range(7)))
    higher = values(*(0.5 + i / 50 for i in range(7)))
    given: SeedValues = {A: low, B: high, C: higher, ALONE: high}
    found = {(test.first, test.second): test for test in paired_tests(given)}
    assert set(found) == {(A, B), (A, C), (B, C), (A, ALONE)}  # not alone against another method
    assert {test.wilcoxon for test in found.values()} == {2 / 2**7}
    assert {test.wilcoxon_holm for test in found.values()} == {4 * 2 / 2**7}


@pytest.mark.parametrize(
    "second, pairs, said",
    [
        (values(0.1, 0.2, 0.3, 0.4, 0.1), 5, "n is below 6"),
        (values(0.5, 0.6, 0.7, 0.8, 0.5, 0.6, 0.7), 7, "every difference is the same"),
        (values(0.5, 0.6, 0.7, 0.8, 0.5, 0.6, 0.0), 7, "fewer than 6 pairs differ"),
    ],
)
def test_no_p_where_none_can_be_had(second: dict[Place, dict[int, float]], pairs: int, said: str) -> None:
    (test,) = paired_tests({A: values(0.5, 0.6, 0.7, 0.8, 0.5, 0.6, 0.7), B: second})
    assert test.pairs == pairs and test.wilcoxon is None and test.wilcoxon_holm is None and said in test.refused
    assert (test.t is None) == ("pairs differ" not in said)
