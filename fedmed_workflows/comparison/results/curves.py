"""ROC, decision and reliability curves of classifiers, from the sites' counts of all seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.comparison.results.site_scores import TRAINING, UNSEEN, Place
from fedmed_workflows.evaluation.score_counts import added_counts, benefit_of_all, net_benefit, roc_curve

Curve = tuple[np.ndarray, np.ndarray]
"""The x and y values of a curve's points."""

Curves = dict[Place, dict[Arm, Curve]]

RATES = np.linspace(0, 1, 101)
"""False-positive rates of ROC curves."""

TREAT_ALL = Arm("treat all")
"""A reference beside the arms of decision curves: the net benefit of treating everybody."""


def comparison_curves(runs: Iterable[ComparedRun]) -> dict[str, Curves]:
    """Computes the curves ``roc``, ``decision`` and ``reliability`` by place and arm; none without counts.

    ROC: false-positive rate and sensitivity. Decision: threshold and net benefit. Both are means over the classes, each
    class against the rest. Reliability: mean confidence and accuracy of each bin that is not empty.
    """
    scores = _scores(runs)
    kinds: dict[str, Callable[[list[Mapping[str, Any]]], Curve]] = {
        "roc": _roc, "decision": _decision, "reliability": _reliability,
    }  # fmt: skip
    curves = {
        name: {place: {arm: draw(own) for arm, own in arms.items()} for place, arms in scores.items()}
        for name, draw in kinds.items()
    }
    for place, arms in scores.items():
        first = next(iter(arms.values()))
        counts = added_counts([score["counts"] for score in first])
        thresholds = _thresholds(counts)
        curves["decision"][place][TREAT_ALL] = np.array(thresholds), benefit_of_all(counts, thresholds)
    return curves if scores else {}


def _scores(runs: Iterable[ComparedRun]) -> dict[Place, dict[Arm, list[Mapping[str, Any]]]]:
    """Collects the scores with counts of every arm at every place, of all seeds."""
    found: dict[Place, dict[Arm, list[Mapping[str, Any]]]] = {}
    for run in runs:
        places = [Place(run.unseen, UNSEEN)] if run.unseen else [Place(site, TRAINING) for site in run.trained_sites]
        for place in places:
            score = run.score(place.site)
            if "counts" in score:
                found.setdefault(place, {}).setdefault(run.arm, []).append(score)
    return found


def _roc(scores: list[Mapping[str, Any]]) -> Curve:
    return RATES, roc_curve(added_counts([score["counts"] for score in scores]), RATES)


def _decision(scores: list[Mapping[str, Any]]) -> Curve:
    counts = added_counts([score["counts"] for score in scores])
    thresholds = _thresholds(counts)
    return np.array(thresholds), net_benefit(counts, thresholds)


def _thresholds(counts: Mapping[str, Any]) -> list[float]:
    return [edge for edge in counts["edges"] if 0.01 <= edge <= 0.99]


def _reliability(scores: list[Mapping[str, Any]]) -> Curve:
    """Pools the bins of all seeds: the means are weighted by the counts."""
    bins = [score["reliability"] for score in scores]
    count = np.array([part["count"] for part in bins], dtype=float)
    means = [np.array([[value or 0.0 for value in part[name]] for part in bins]) for name in ("confidence", "accuracy")]
    total = count.sum(axis=0)
    confidence, accuracy = ((mean * count).sum(axis=0)[total > 0] / total[total > 0] for mean in means)
    return confidence, accuracy
