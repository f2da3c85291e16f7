"""Means over seeds, sites and networks trained alone, and their spread: by hand."""

from __future__ import annotations

import math
import statistics

import pytest

from fedmed_workflows.comparison.results.compared_run import Arm
from fedmed_workflows.comparison.results.site_scores import (
    TRAINING,
    UNSEEN,
    Fairness,
    Place,
    fairness,
    over_places,
    seed_mean,
    seed_values,
)
from tests.workflows.comparison.compared import compared_run

ARM = Arm("a")


def test_t_interval_by_hand() -> None:
    found = seed_mean([0.5, 0.6, 0.8])
    half = 4.302653 * statistics.stdev([0.5, 0.6, 0.8]) / math.sqrt(3)  # t of 0.975 with two degrees of freedom
    assert (found.mean, found.low, found.high) == pytest.approx((1.9 / 3, 1.9 / 3 - half, 1.9 / 3 + half))
    assert found.seeds == 3
    assert vars(seed_mean([0.5])) == {"mean": 0.5, "low": None, "high": None, "seeds": 1}
    assert seed_mean([]).mean is None


def test_a_site_counts_once_a_seed() -> None:
    runs = [
        compared_run(ARM, 0, "east", {"east": 0.1, "west": 0.5, "north": 0.6}),
        compared_run(ARM, 0, "west", {"east": 0.9, "west": 0.3, "north": 0.8}),
        compared_run(ARM, 1, "east", {"east": 0.2, "west": None, "north": 0.4}),
    ]
    found = seed_values(runs, "dice")[ARM]
    assert found[Place("east", UNSEEN)] == {0: 0.1, 1: 0.2} and found[Place("west", UNSEEN)] == {0: 0.3}
    assert found[Place("north", TRAINING)] == pytest.approx({0: 0.7, 1: 0.4})
    assert found[Place("west", TRAINING)] == {0: 0.5} and found[Place("east", TRAINING)] == {0: 0.9}
    assert over_places(found, UNSEEN) == pytest.approx([0.2])  # of seed 1 the west is missing
    assert fairness(found, UNSEEN) == Fairness(pytest.approx(0.15), "east", pytest.approx(0.15 / math.sqrt(2)))
    assert fairness(found, UNSEEN, lower_is_better=True).site == "west"
    assert fairness({}, UNSEEN) == Fairness(None, None, None)


def test_alone_and_pooled_are_judged_at_the_sites_they_trained_on() -> None:
    alone, pooled = Arm("a", "alone"), Arm("a", "pooled")
    runs = [
        compared_run(alone, 0, "east", {"east": 0.2, "west": 0.8, "north": 0.3}, trained_at="west"),
        compared_run(alone, 0, "east", {"east": 0.4, "west": 0.1, "north": 0.7}, trained_at="north"),
        compared_run(pooled, 0, "east", {"east": 0.6, "west": 0.85, "north": 0.75, "pooled": 0.99}),
    ]
    found = seed_values(runs, "dice")
    assert found[alone] == {
        Place("east", UNSEEN): {0: pytest.approx(0.3)}, Place("west", TRAINING): {0: 0.8},
        Place("north", TRAINING): {0: 0.7},
    }  # fmt: skip
    assert found[pooled] == {
        Place("east", UNSEEN): {0: 0.6}, Place("west", TRAINING): {0: 0.85}, Place("north", TRAINING): {0: 0.75},
    }  # fmt: skip
