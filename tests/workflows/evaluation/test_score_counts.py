"""Counts of probabilities in bins: by hand, and the curves that follow from them, against scikit-learn."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import auc
from sklearn.metrics import roc_curve as exact_roc_curve

from fedmed_workflows.evaluation.score_counts import (
    EDGES,
    added_counts,
    benefit_of_all,
    net_benefit,
    roc_curve,
    score_counts,
)

# The probability of the class, for the class's four images and the two others.
OWN, OTHERS = (0.9, 0.605, 0.3, 1.0), (0.6, 0.05)


@pytest.fixture
def counts() -> dict[str, Any]:
    probabilities = np.array([(value, 1 - value) for value in (*OWN, *OTHERS)])
    labels = np.array([0] * len(OWN) + [1] * len(OTHERS))
    plain: dict[str, Any] = json.loads(json.dumps(score_counts(probabilities, labels)))
    return plain


def binned(values: list[float]) -> list[int]:
    """Counts in bins that hold their lower edge, the last one 1 as well."""
    bins = list(zip(EDGES, EDGES[1:]))
    return [sum(low <= value < high or value == high == 1 for value in values) for low, high in bins]


def test_counts_by_hand(counts: dict[str, Any]) -> None:
    assert counts["edges"] == list(EDGES)
    assert counts["positive"][0] == binned([*OWN]) and counts["negative"][0] == binned([*OTHERS])
    assert counts["positive"][1] == binned([1 - value for value in OTHERS])
    assert counts["positive"][0][-1] == 1 and sum(counts["positive"][0]) == 4
    place = EDGES.index(0.6)
    assert counts["positive"][0][place] == 1 and counts["negative"][0][place] == 1
    twice = added_counts([counts, counts])
    assert twice["positive"][0] == [2 * count for count in counts["positive"][0]]


def test_net_benefit_by_hand(counts: dict[str, Any]) -> None:
    # Class 0 at 0.5: three of four found and one of two others. Class 1: 0.4, 0.95; others 0.1, 0.395, 0.7, 0.
    found = net_benefit(counts, [0.5, 0.8])
    first = [(3 - 1 * 1) / 6, (2 - 0) / 6]
    second = [(1 - 1 * 1) / 6, (1 - 0) / 6]
    assert found == pytest.approx([(a + b) / 2 for a, b in zip(first, second)])
    everybody = [((4 - 2 * odds) / 6 + (2 - 4 * odds) / 6) / 2 for odds in (1, 4)]
    assert benefit_of_all(counts, [0.5, 0.8]) == pytest.approx(everybody)


def test_roc_curve_by_hand() -> None:
    edges = len(EDGES) - 1
    positive, negative = ([0] * edges for _ in range(2))
    positive[10], positive[50], negative[30], negative[5] = 1, 3, 1, 1
    counts = {"edges": list(EDGES), "positive": [positive], "negative": [negative]}
    # Thresholds from above: (0, 0.75), (0.5, 0.75), (0.5, 1), (1, 1).
    assert roc_curve(counts, np.array([0, 0.25, 0.49, 0.5, 0.75, 1])) == pytest.approx([0.75, 0.75, 0.75, 1, 1, 1])


@pytest.mark.parametrize("classes", [2, 4])
def test_roc_curve_is_nearly_the_exact_one(classes: int) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, 400)
    scores = random.gamma(1.0, size=(400, classes)) + np.eye(classes)[labels]
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    rates = np.linspace(0, 1, 1001)
    exact = [exact_roc_curve(labels == c, probabilities[:, c]) for c in range(classes)]
    expected = np.mean([auc(false, true) for false, true, _ in exact])
    assert auc(rates, roc_curve(score_counts(probabilities, labels), rates)) == pytest.approx(expected, abs=0.002)


def test_classes_without_images_are_left_out() -> None:
    probabilities = np.array([(0.7, 0.2, 0.1), (0.2, 0.7, 0.1)])
    full, one = score_counts(probabilities, np.array([0, 1])), score_counts(probabilities[:1], np.array([0]))
    assert roc_curve(full, np.array([0.0])) == pytest.approx([1]) and net_benefit(full, [0.5]) == pytest.approx([0.5])
    assert np.isnan(roc_curve(one, np.array([0.5]))).all() and np.isnan(net_benefit(one, [0.5])).all()
    assert np.isnan(benefit_of_all(one, [0.5])).all()
