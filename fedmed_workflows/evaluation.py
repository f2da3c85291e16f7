"""Evaluation of a classifier: metrics, their intervals, confusion matrix and calibration, from one pass over a site."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torchmetrics.functional.classification import (
    multiclass_auroc,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from fedmed_workflows.intervals import bootstrap_intervals
from fedmed_workflows.run_folder import write_whole

CALIBRATION_BINS = 10
"""Bins of confidence in the calibration error and the reliability diagram."""


class ClassificationMetrics:
    """A handler that gives an evaluator's state the metrics of the pictures it has seen.

    ``state.metrics`` gets accuracy, balanced_accuracy, macro_f1, auroc and ece. With `resamples`, ``state.metrics``
    also gets ``score``: the same metrics with bootstrap intervals, the confusion matrix, and the reliability diagram's
    bins. Pictures of one image (slices of a volume) are pooled: their mean probabilities count once.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits.
    resamples
        Bootstrap resamples, or 0 for no intervals.
    split
        What the images are to the site, for the report: ``test``, or ``all`` of an unseen site.
    """

    def __init__(self, class_names: Sequence[str], resamples: int = 0, split: str = "test") -> None:
        self.class_names = list(class_names)
        self.resamples = resamples
        self.split = split
        self._seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator whose output holds ``pred`` (B, C) logits and ``label`` (B,)."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._seen.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._see)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _see(self, engine: Engine) -> None:
        output, batch = engine.state.output, engine.state.batch
        probabilities = output["pred"].detach().float().softmax(dim=1).cpu()
        self._seen.append((probabilities, output["label"].cpu(), torch.as_tensor(batch["item"])))

    def _finish(self, engine: Engine) -> None:
        probabilities, labels = _pooled(*(torch.cat(part) for part in zip(*self._seen, strict=True)))
        self._seen.clear()
        engine.state.metrics.update(classification_metrics(probabilities, labels))
        if self.resamples:
            engine.state.metrics["score"] = self._score(probabilities, labels)

    def _score(self, probabilities: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        values = classification_metrics(probabilities, labels)
        intervals = bootstrap_intervals(
            lambda drawn: classification_metrics(probabilities[drawn], labels[drawn]), len(labels), self.resamples
        )
        metrics = {
            name: {"value": _or_none(value), "low": _or_none(intervals[name][0]), "high": _or_none(intervals[name][1])}
            for name, value in values.items()
        }
        return {
            "images": len(labels),
            "split": self.split,
            "class_names": self.class_names,
            "metrics": metrics,
            "confusion": _confusion(probabilities, labels).tolist(),
            "reliability": _reliability(probabilities, labels),
        }


def classification_metrics(probabilities: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Metrics of class probabilities.

    Parameters
    ----------
    probabilities
        (N, C), rows sum to one.
    labels
        (N,) integer classes.

    Returns
    -------
    dict
        ``accuracy``; ``balanced_accuracy``, the mean recall of the classes that occur; ``macro_f1``, over the classes
        that occur or are predicted; ``auroc``, one class against the rest, the mean over classes that occur and leave
        a rest; ``ece``, the expected calibration error over ten bins. NaN where undefined.
    """
    confusion = _confusion(probabilities, labels).double()
    hits, occurs, predicted = confusion.diagonal(), confusion.sum(dim=1), confusion.sum(dim=0)
    return {
        "accuracy": float(hits.sum() / occurs.sum()),
        "balanced_accuracy": float((hits / occurs)[occurs > 0].mean()),
        "macro_f1": float((2 * hits / (occurs + predicted))[occurs + predicted > 0].mean()),
        "auroc": _auroc(probabilities, labels, (occurs > 0) & (occurs < occurs.sum())),
        "ece": float(
            multiclass_calibration_error(
                probabilities, labels, probabilities.shape[1], n_bins=CALIBRATION_BINS, validate_args=False
            )
        ),
    }


def _auroc(probabilities: torch.Tensor, labels: torch.Tensor, defined: torch.Tensor) -> float:
    if not bool(defined.any()):
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of the classes that are left out here
        by_class = multiclass_auroc(probabilities, labels, probabilities.shape[1], average="none", validate_args=False)
    return float(by_class[defined].mean())


def _confusion(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(C, C) counts, a row for each true class."""
    counts: torch.Tensor = multiclass_confusion_matrix(
        probabilities, labels, probabilities.shape[1], validate_args=False
    )
    return counts


def _reliability(probabilities: torch.Tensor, labels: torch.Tensor) -> dict[str, list[Any]]:
    confidence, predicted = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = torch.bucketize(confidence, edges[1:-1])
    inside = [bins == index for index in range(CALIBRATION_BINS)]
    right = (predicted == labels).float()
    return {
        "edges": [round(edge, 6) for edge in edges.tolist()],
        "confidence": [float(confidence[part].mean()) if part.any() else None for part in inside],
        "accuracy": [float(right[part].mean()) if part.any() else None for part in inside],
        "count": [int(part.sum()) for part in inside],
    }


def _pooled(
    probabilities: torch.Tensor, labels: torch.Tensor, items: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean probabilities and label of every image, from those of its pictures."""
    images, place = items.unique(return_inverse=True)
    total = probabilities.new_zeros(len(images), probabilities.shape[1]).index_add_(0, place, probabilities)
    label = labels.new_zeros(len(images)).scatter_(0, place, labels)
    return total / place.bincount()[:, None], label


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


class ScoreFile:
    """A handler that writes an evaluator's ``score`` to ``score.json``.

    Parameters
    ----------
    output_dir
        Folder of the file.
    """

    def __init__(self, output_dir: str) -> None:
        self.output_dir = Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator that has :class:`ClassificationMetrics` with resamples."""
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        write_whole(self.output_dir / "score.json", json.dumps(engine.state.metrics["score"], indent=2))
