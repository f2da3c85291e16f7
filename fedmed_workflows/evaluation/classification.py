"""Evaluates a classifier in one pass over a site: metrics, intervals, confusion matrix and calibration."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.evaluation.bootstrap import percentile_interval, resample_weights
from fedmed_workflows.evaluation.classification_metrics import (
    CALIBRATION_BINS,
    calibration_bins,
    classification_metrics,
    confusion_counts,
)
from fedmed_workflows.evaluation.score_counts import score_counts


class ClassificationMetrics:
    """A handler that adds the metrics of a classifier to the state of an evaluator.

    The handler sets accuracy, balanced_accuracy, macro_f1, auroc and ece in ``state.metrics``. With `resamples` it also
    sets ``score``: the same metrics with bootstrap intervals, the confusion matrix, the bins of the reliability
    diagram, and counts of the images by their probabilities, for ROC and decision curves. The pictures of one image
    (the slices of a volume) are pooled: the mean of their probabilities counts once.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits.
    resamples
        Number of bootstrap resamples; 0 for no intervals.
    split
        Name of the evaluated images in the report: ``test``, or ``all`` for an unseen site.

    Examples
    --------
    >>> import torch
    >>> from ignite.engine import Engine
    >>> from fedmed_workflows import ClassificationMetrics
    >>> evaluator = Engine(lambda engine, batch: batch)
    >>> ClassificationMetrics(["benign", "malignant"]).attach(evaluator)
    >>> batch = {"pred": torch.tensor([[2.0, 0.0], [0.0, 2.0]]), "label": torch.tensor([0, 1]), "item": [0, 1]}
    >>> evaluator.run([batch]).metrics["accuracy"]
    1.0
    """

    def __init__(self, class_names: Sequence[str], resamples: int = 0, split: str = "test") -> None:
        self.class_names = list(class_names)
        self.resamples = resamples
        self.split = split
        self._batches: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Attaches the handler to an evaluator whose output has ``pred`` (B, C) logits and ``label`` (B,)."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._batches.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_batch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _add_batch(self, engine: Engine) -> None:
        output, batch = engine.state.output, engine.state.batch
        probabilities = output["pred"].detach().float().softmax(dim=1).cpu()
        self._batches.append((probabilities, output["label"].cpu(), torch.as_tensor(batch["item"])))

    def _finish(self, engine: Engine) -> None:
        pooled = _pooled(*(torch.cat(part) for part in zip(*self._batches, strict=True)))
        probabilities, labels = (part.double().numpy() if part.is_floating_point() else part.numpy() for part in pooled)
        self._batches.clear()
        values = {name: float(value[0]) for name, value in classification_metrics(probabilities, labels).items()}
        engine.state.metrics.update(values)
        if self.resamples:
            engine.state.metrics["score"] = self._score(probabilities, labels, values)

    def _score(self, probabilities: np.ndarray, labels: np.ndarray, values: dict[str, float]) -> dict[str, Any]:
        weights = resample_weights(len(labels), self.resamples)
        resampled = classification_metrics(probabilities, labels, weights)
        intervals = {name: percentile_interval(resampled[name]) for name in values}
        once = np.ones((1, len(labels)))
        return {
            "images": len(labels),
            "split": self.split,
            "class_names": self.class_names,
            "metrics": {
                name: {
                    key: _or_none(number) for key, number in zip(("value", "low", "high"), (value, *intervals[name]))
                }
                for name, value in values.items()
            },
            "confusion": confusion_counts(probabilities, labels, once)[0].astype(int).tolist(),
            "reliability": _reliability(*(part[0] for part in calibration_bins(probabilities, labels, once))),
            "counts": score_counts(probabilities, labels),
        }


def _reliability(count: np.ndarray, confidence: np.ndarray, hits: np.ndarray) -> dict[str, list[Any]]:
    """Returns mean confidence and accuracy of every bin of confidence; None in an empty bin."""
    means = [(float(c / n), float(h / n)) if n else (None, None) for n, c, h in zip(count, confidence, hits)]
    return {
        "edges": [index / CALIBRATION_BINS for index in range(CALIBRATION_BINS + 1)],
        "confidence": [mean for mean, _ in means],
        "accuracy": [mean for _, mean in means],
        "count": [int(number) for number in count],
    }


def _pooled(
    probabilities: torch.Tensor, labels: torch.Tensor, items: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean probabilities (images, C) and labels (images,) from those of the pictures."""
    images, place = items.unique(return_inverse=True)
    total = probabilities.new_zeros(len(images), probabilities.shape[1]).index_add_(0, place, probabilities)
    label = labels.new_zeros(len(images)).scatter_(0, place, labels)
    return total / place.bincount()[:, None], label  # (images, C), (images,)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


class ScoreFile:
    """A handler that writes the ``score`` of an evaluator to ``score.json``.

    Parameters
    ----------
    output_dir
        Folder of the file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ignite.engine import Engine
    >>> from fedmed_workflows import ScoreFile
    >>> evaluator = Engine(lambda engine, score: engine.state.metrics.update(score=score))
    >>> with TemporaryDirectory() as folder:
    ...     ScoreFile(folder).attach(evaluator)
    ...     _ = evaluator.run([{"images": 3}])
    ...     print(Path(folder, "score.json").read_text())
    {
      "images": 3
    }
    """

    def __init__(self, output_dir: str) -> None:
        self.output_dir = Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Attaches the handler to an evaluator whose metrics have a ``score``, as with resamples."""
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        write_whole(self.output_dir / "score.json", json.dumps(engine.state.metrics["score"], indent=2))
