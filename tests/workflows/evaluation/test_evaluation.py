"""Metrics of a classifier: against scikit-learn, by hand, where they are undefined, and their intervals."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, roc_auc_score

from fedmed_workflows.evaluation.bootstrap import percentile_interval, resample_weights
from fedmed_workflows.evaluation.classification import ClassificationMetrics, ScoreFile
from fedmed_workflows.evaluation.classification_metrics import (
    calibration_bins,
    classification_metrics,
    confusion_counts,
)

NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece")


def random_answers(count: int, classes: int, seed: int, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that know a little of the labels; with levels, full of ties."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    scores = random.gamma(1.0, size=(count, classes)) + np.eye(classes)[labels]
    if levels:
        scores = np.ceil(scores * levels)
    return scores / scores.sum(axis=1, keepdims=True), labels


def expected(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """scikit-learn's metrics; of classes that do not occur it has no area, so those are left out."""
    predicted = probabilities.argmax(axis=1)
    areas = [
        roc_auc_score(labels == c, probabilities[:, c], sample_weight=weights)
        for c in np.unique(labels if weights is None else labels[weights > 0])
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of predicted classes that do not occur
        return {
            "accuracy": accuracy_score(labels, predicted, sample_weight=weights),
            "balanced_accuracy": balanced_accuracy_score(labels, predicted, sample_weight=weights),
            "macro_f1": f1_score(labels, predicted, average="macro", sample_weight=weights),
            "auroc": float(np.mean(areas)),
        }


def values(probabilities: Any, labels: Any) -> dict[str, float]:
    found = classification_metrics(np.asarray(probabilities, dtype=float), np.asarray(labels))
    assert set(found) == set(NAMES) and all(value.shape == (1,) for value in found.values())
    return {name: float(value[0]) for name, value in found.items()}


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("count, classes", [(200, 2), (200, 4), (31, 7)])
@pytest.mark.parametrize("seed", [0, 1])
def test_metrics_are_those_of_scikit_learn(count: int, classes: int, levels: int | None, seed: int) -> None:
    probabilities, labels = random_answers(count, classes, seed, levels)
    found = values(probabilities, labels)
    assert {name: found[name] for name in NAMES[:4]} == pytest.approx(expected(probabilities, labels), rel=1e-9)
    assert found["auroc"] == pytest.approx(
        roc_auc_score(labels, probabilities[:, 1] if classes == 2 else probabilities, multi_class="ovr"), rel=1e-9
    )
    matrix = confusion_counts(probabilities, labels, np.ones((1, count)))[0]
    assert np.array_equal(matrix, confusion_matrix(labels, probabilities.argmax(axis=1)))


@pytest.mark.parametrize("absent", [[0], [3], [1, 2]])
def test_metrics_where_classes_are_absent(absent: list[int]) -> None:
    probabilities, labels = random_answers(120, 4, seed=3)
    kept = ~np.isin(labels, absent)
    probabilities, labels = probabilities[kept], labels[kept]
    assert set(absent) & set(probabilities.argmax(axis=1))  # predicted though absent
    found = values(probabilities, labels)
    assert {name: found[name] for name in NAMES[:4]} == pytest.approx(expected(probabilities, labels), rel=1e-9)


def test_weights_count_cases_as_often() -> None:
    probabilities, labels = random_answers(50, 3, seed=0, levels=3)
    weights = np.random.default_rng(0).integers(0, 4, (6, 50)).astype(float)
    found = classification_metrics(probabilities, labels, weights)
    for row, counts in enumerate(weights):
        drawn = np.repeat(np.arange(50), counts.astype(int))
        wanted = values(probabilities[drawn], labels[drawn])
        assert {name: float(found[name][row]) for name in NAMES} == pytest.approx(wanted, rel=1e-9)
        wanted = expected(probabilities, labels, counts)
        assert {name: float(found[name][row]) for name in wanted} == pytest.approx(wanted, rel=1e-9)


def test_calibration_error_by_hand() -> None:
    # confidence and whether it was right; a bin holds its upper edge: 0.5 | 0.75 0.8 0.8 | 0.95 1.0 1.0
    table = [(0.5, True), (0.75, True), (0.8, False), (0.8, True), (0.95, True), (1.0, True), (1.0, False)]
    probabilities = [(confidence, 1 - confidence) for confidence, _ in table]
    labels = [0 if right else 1 for _, right in table]
    by_bin = [abs(0.5 - 1), abs(0.75 + 0.8 + 0.8 - 2), abs(0.95 + 1 + 1 - 2)]
    assert values(probabilities, labels)["ece"] == pytest.approx(sum(by_bin) / 7, rel=1e-9)
    counts = calibration_bins(np.array(probabilities), np.array(labels), np.ones((1, 7)))[0][0]
    assert counts.tolist() == [0, 0, 0, 0, 1, 0, 0, 3, 0, 3]


@pytest.mark.parametrize(
    "probabilities, labels, wanted",
    [
        ([[1, 0], [0, 1], [1, 0]], [0, 1, 0], [1, 1, 1, 1, 0]),
        ([[0, 1], [1, 0]], [0, 1], [0, 0, 0, 0, 1]),
        ([[0.6, 0.4]] * 4, [0, 0, 0, 1], [0.75, 0.5, 3 / 7, 0.5, 0.15]),
        ([[0.9, 0.1], [0.2, 0.8]], [0, 0], [0.5, 0.5, 1 / 3, math.nan, (0.1 + 0.8) / 2]),  # no rest, no area
    ],
)
def test_metrics_by_hand(probabilities: list[list[float]], labels: list[int], wanted: list[float]) -> None:
    assert values(probabilities, labels) == pytest.approx(dict(zip(NAMES, wanted)), nan_ok=True)


def test_resamples_draw_as_many_cases_as_there_are() -> None:
    weights = resample_weights(40, 500)
    assert weights.shape == (500, 40) and np.array_equal(weights.sum(axis=1), np.full(500, 40))
    assert np.array_equal(weights, np.round(weights)) and weights.min() == 0
    assert abs(weights.mean(axis=0) - 1).max() < 0.25 and 0.8 < weights.var() < 1.2  # multinomial: 1 - 1/N
    assert np.array_equal(weights, resample_weights(40, 500))
    assert not np.array_equal(weights, resample_weights(40, 500, seed=1))


def test_percentile_interval() -> None:
    assert percentile_interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert percentile_interval(np.r_[np.arange(1001.0), [np.nan] * 50]) == pytest.approx((25, 975))
    assert all(math.isnan(end) for end in percentile_interval(np.array([np.nan, np.nan])))


def evaluate(
    logits: torch.Tensor, labels: torch.Tensor, items: list[int], batch: int = 3, **options: Any
) -> dict[str, Any]:
    """Metrics of an evaluator that answers these logits."""
    names = [f"class {index}" for index in range(logits.shape[1])]
    evaluator = Engine(lambda engine, data: {"pred": data["pred"], "label": data["label"]})
    ClassificationMetrics(names, **options).attach(evaluator)
    data = [
        {"pred": logits[part], "label": labels[part], "item": torch.tensor(items)[part]}
        for part in torch.arange(len(items)).split(batch)
    ]
    for _ in range(2):  # nothing of the first run is left in the second
        state = evaluator.run(data)
    return dict(state.metrics)


def test_slices_of_a_volume_count_once() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.55, 0.45]])
    labels, items = torch.tensor([0, 0, 0, 1, 0]), [7, 7, 7, 2, 4]  # the volume's mean is (0.5, 0.5) + rounding
    probabilities[2] = torch.tensor([0.29, 0.71])  # (0.53, 0.47)
    found = evaluate(probabilities.log(), labels, items, batch=2, resamples=10, split="all")
    score = found.pop("score")
    pooled = [[0.3, 0.7], [0.55, 0.45], [0.53, 0.47]]  # images in the order of their numbers
    assert {name: found[name] for name in NAMES} == pytest.approx(values(pooled, [1, 0, 0]), rel=1e-5)
    assert score["images"] == 3 and score["confusion"] == [[2, 0], [0, 1]]
    assert score["split"] == "all" and score["class_names"] == ["class 0", "class 1"]
    assert score["reliability"]["count"] == [0, 0, 0, 0, 0, 2, 1, 0, 0, 0]
    assert score["reliability"]["confidence"][5] == pytest.approx(0.54, rel=1e-5)
    assert score["reliability"]["accuracy"][5:7] == [1, 1] and score["reliability"]["accuracy"][0] is None
    assert score["reliability"]["edges"] == pytest.approx(np.linspace(0, 1, 11))
    # For each class, its images with a probability below 0.5 and from there on; then the others'.
    half = score["counts"]["edges"].index(0.5)
    parts = [[sum(row[:half]), sum(row[half:])] for name in ("positive", "negative") for row in score["counts"][name]]
    assert parts == [[0, 2], [0, 1], [1, 0], [2, 0]]


def test_without_resamples_there_is_no_score() -> None:
    found = evaluate(torch.eye(3), torch.arange(3), [0, 1, 2])
    assert set(found) == set(NAMES)


def scored(count: int) -> dict[str, dict[str, float]]:
    probabilities, labels = random_answers(count, 3, seed=5)
    logits = torch.from_numpy(np.log(probabilities))
    metrics: dict[str, Any] = evaluate(logits, torch.from_numpy(labels), list(range(count)), 50, resamples=300)["score"]
    return metrics["metrics"]


def test_intervals_hold_the_value_narrow_with_the_cases_and_come_again() -> None:
    few, many = scored(40), scored(1000)
    for name in NAMES[:4]:
        for found in (few[name], many[name]):
            assert found["low"] < found["value"] < found["high"]
        widths = [found["high"] - found["low"] for found in (few[name], many[name])]
        assert 2 < widths[0] / widths[1] < 12, name  # the square root of 25 is 5
    assert few["ece"]["low"] < few["ece"]["high"]
    assert scored(40) == few


def test_undefined_metrics_are_none(tmp_path: Path) -> None:
    evaluator = Engine(lambda engine, data: {"pred": torch.eye(2)[[0, 0, 1]] * 3, "label": torch.zeros(3).long()})
    ClassificationMetrics(["a", "b"], resamples=20).attach(evaluator)
    ScoreFile(str(tmp_path / "new")).attach(evaluator)
    state = evaluator.run([{"item": torch.arange(3)}])
    assert math.isnan(state.metrics["auroc"])
    text = (tmp_path / "new" / "score.json").read_text()
    assert "NaN" not in text and json.loads(text) == state.metrics["score"]
    metrics = json.loads(text)["metrics"]
    assert metrics["auroc"] == {"value": None, "low": None, "high": None}
    assert metrics["accuracy"]["value"] == pytest.approx(2 / 3)
    assert json.loads(text)["confusion"] == [[2, 1], [0, 0]]
