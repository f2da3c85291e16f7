"""Evaluates a segmentation in one pass over a site: metrics, intervals and pictures of cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from fedmed_transforms.image_metadata import file_of, plain_tensor
from fedmed_transforms.preprocessing.pictures import cut_of
from fedmed_workflows.evaluation.bootstrap import percentile_interval, resample_weights
from fedmed_workflows.evaluation.case_overlays import CaseOverlays, spacing_of
from fedmed_workflows.evaluation.segmentation_metrics import as_slices, image_metrics, mean_metrics, overlap_metrics


class SegmentationMetrics:
    """A handler that adds the metrics of a segmentation to the state of an evaluator.

    The handler sets ``dice`` and ``iou`` in ``state.metrics``: the mean over the images of the mean over the classes
    that occur in the label. With `resamples` it also sets ``score``: all metrics of
    :func:`fedmed_workflows.evaluation.segmentation_metrics.image_metrics` with bootstrap intervals, as means and class
    by class; the numbers of empty masks; and the best, the median and the worst case by Dice. Resamples draw whole
    images, so that the slices of a volume stay together.

    Distances are in mm for volumes and in pixels for pictures. ``hd95`` and ``slice_hd95`` leave out infinite values,
    which occur if a class is only in the label or only in the prediction. A network that finds nothing would therefore
    look too good, so ``score["empty"]`` counts the empty masks of images and slices by class: ``label`` if only the
    label is empty, ``prediction`` if only the prediction is empty, ``both`` if both are empty.

    Parameters
    ----------
    class_names
        The C classes, in the order of the logits.
    resamples
        Number of bootstrap resamples; 0 for no intervals.
    split
        Name of the evaluated images in the report: ``test``, or ``all`` for an unseen site.
    overlays_dir
        Folder of the pictures of the cases, which show patients and stay at the site; None for no pictures.

    Examples
    --------
    >>> import torch
    >>> from ignite.engine import Engine
    >>> from fedmed_workflows import SegmentationMetrics
    >>> evaluator = Engine(lambda engine, batch: {"pred": batch["label"] - 0.5, "label": batch["label"]})
    >>> SegmentationMetrics(["tumour"]).attach(evaluator)
    >>> evaluator.run([{"image": torch.rand(1, 1, 8, 8), "label": torch.eye(8)[None, None]}]).metrics["dice"]
    1.0
    """

    def __init__(
        self, class_names: Sequence[str], resamples: int = 0, split: str = "test", overlays_dir: str | None = None
    ) -> None:
        self.class_names = list(class_names)
        self.resamples = resamples
        self.split = split
        self.overlays = CaseOverlays(overlays_dir) if resamples and overlays_dir is not None else None
        self._images: list[dict[str, np.ndarray]] = []
        self._empty: list[dict[str, np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        """Attaches the handler to an evaluator with a batch size of 1.

        The output of the evaluator has ``pred`` (1, C, X, Y) or (1, C, X, Y, Z) logits and ``label`` of the same shape,
        0 and 1. The batch has the ``image`` (1, c, X, Y) or (1, c, X, Y, Z) in [0, 1], with the affine of the source.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_image)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self._images.clear()
        self._empty.clear()
        if self.overlays is not None:
            self.overlays.start()

    def _add_image(self, engine: Engine) -> None:
        image = engine.state.batch["image"][0]
        logits, label = (plain_tensor(engine.state.output[key]).detach()[0] for key in ("pred", "label"))
        self._check(image, logits, label)
        label = label > 0
        if not self.resamples:
            self._images.append(overlap_metrics((logits > 0)[None], label[None]))
            return
        axis = cut_of(image).order[0] if image.ndim == 4 else None
        metrics = image_metrics(logits, label, axis, spacing_of(image))
        self._images.append(metrics)
        self._empty.append(_empty_masks(logits > 0, label, axis))
        if self.overlays is not None:
            dice = metrics["dice"][0]
            mean = float(np.nanmean(dice)) if np.isfinite(dice).any() else math.nan
            self.overlays.add(mean, image, label, logits > 0)

    def _check(self, image: torch.Tensor, logits: torch.Tensor, label: torch.Tensor) -> None:
        expected = (len(self.class_names), *image.shape[1:])
        if tuple(logits.shape) != expected or tuple(label.shape) != expected:
            found = f"{tuple(logits.shape)} and {tuple(label.shape)}"
            raise ValueError(f"{file_of(image)}: found logits and label {found}, expected both {expected}")
        if not torch.isfinite(logits).all():
            raise ValueError("logits: found values that are not finite; the network's weights may be NaN or infinite")

    def _finish(self, engine: Engine) -> None:
        means = mean_metrics(self._images)
        engine.state.metrics.update({name: float(means[name][0, 0]) for name in ("dice", "iou")})
        if self.resamples:
            engine.state.metrics["score"] = self._score(means)
        self._images.clear()

    def _score(self, means: dict[str, np.ndarray]) -> dict[str, Any]:
        resampled = mean_metrics(self._images, resample_weights(len(self._images), self.resamples))

        def intervals(column: int) -> dict[str, dict[str, float | None]]:
            return {name: _interval(float(means[name][0, column]), resampled[name][:, column]) for name in means}

        totals = {kind: sum(empty[kind] for empty in self._empty) for kind in ("images", "slices")}
        return {
            "images": len(self._images),
            "slices": sum(len(image["slice_dice"]) for image in self._images),
            "split": self.split,
            "class_names": self.class_names,
            "metrics": intervals(0),
            "classes": {name: intervals(1 + index) for index, name in enumerate(self.class_names)},
            "empty": {
                name: {
                    kind: dict(zip(("label", "prediction", "both"), np.asarray(total)[index].tolist(), strict=True))
                    for kind, total in totals.items()
                }
                for index, name in enumerate(self.class_names)
            },
            "cases": [] if self.overlays is None else self.overlays.write(),
        }


def _empty_masks(prediction: torch.Tensor, label: torch.Tensor, slice_axis: int | None) -> dict[str, np.ndarray]:
    """Counts the masks that are empty only in the label, only in the prediction, or in both: (C, 3) each."""
    empty = {}
    for kind, parts in (
        ("images", (prediction[None], label[None])),
        ("slices", [as_slices(part, slice_axis) for part in (prediction, label)]),
    ):
        predicted, labelled = (part.flatten(2).any(2) for part in parts)  # (n, C) each
        counts = (predicted & ~labelled, ~predicted & labelled, ~predicted & ~labelled)
        empty[kind] = torch.stack([count.sum(0) for count in counts], dim=1).cpu().numpy()  # (C, 3)
    return empty


def _interval(value: float, resampled: np.ndarray) -> dict[str, float | None]:
    numbers = zip(("value", "low", "high"), (value, *percentile_interval(resampled)), strict=True)
    return {key: None if math.isnan(number) else number for key, number in numbers}
