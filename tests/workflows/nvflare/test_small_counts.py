"""Tests that a site withholds statistics of too few patients, and their number, too."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fedmed_workflows.nvflare.statistics.small_counts import SmallCounts


def statistics(**counts: int) -> dict[str, Any]:
    """An answer to NVFlare's statistics task, by statistic, data set and quantity; ``class_a`` is ``class a``."""
    named = {name.replace("_", " "): count for name, count in counts.items()}
    return {
        "count": {"site": dict(named)},
        "sum": {"site": {name: 2.0 * count for name, count in named.items()}},
        "min": {"site": dict.fromkeys(named, 1.0)},
        "failure_count": {"site": dict.fromkeys(named, 0)},
    }


def left(cleansed: dict[str, Any]) -> set[str]:
    names = {statistic: set(parts["site"]) for statistic, parts in cleansed.items()}
    assert names["count"] == names["sum"] == names["min"]
    return names["count"]


@pytest.mark.parametrize("count, kept", [(9, set()), (10, {"images", "intensity"})])
def test_fewer_than_the_minimum_leave_nothing_but_the_name(count: int, kept: set[str]) -> None:
    cleansed, modified = SmallCounts(10).apply(statistics(images=count, intensity=count), "site_a")
    assert left(cleansed) == kept and modified == (not kept)
    assert set(cleansed["failure_count"]["site"]) == {"images", "intensity"}


def test_what_is_large_enough_stays_as_it_was() -> None:
    before = statistics(images=30, class_a=20, class_b=10)
    cleansed, modified = SmallCounts(10).apply(copy.deepcopy(before), "site_a")
    assert cleansed == before and not modified


def test_the_smallest_other_class_goes_with_one_that_the_sum_would_tell() -> None:
    cleansed, _ = SmallCounts(10).apply(statistics(images=47, class_a=30, class_b=14, class_c=3), "site_a")
    assert left(cleansed) == {"images", "class a"}


def test_classes_that_are_enough_together_need_no_other() -> None:
    cleansed, _ = SmallCounts(10).apply(statistics(images=42, class_a=30, class_b=6, class_c=6), "site_a")
    assert left(cleansed) == {"images", "class a"}


def test_a_spacing_of_few_takes_no_class_along() -> None:
    cleansed, _ = SmallCounts(10).apply(statistics(images=40, class_a=20, class_b=20, spacing_x=4), "site_a")
    assert left(cleansed) == {"images", "class a", "class b"}
