"""Metrics of segmented images: overlap and surface distances of images and of slices, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.metrics import compute_dice, compute_iou

from fedmed_workflows.evaluation.surfaces import surface_metrics

PUBLISHED_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Thresholds of the published FedFMS evaluation, which applies them to logits instead of probabilities."""

PUBLISHED_SMOOTHING = {"dice": 1e-4, "iou": 1e-6}
"""Added to numerator and denominator, so that an empty prediction of an empty label has the score one."""

Values = Mapping[str, np.ndarray]
"""Metrics of one image by name, (n, C) each, with one row for an image or one row for each slice; NaN if undefined."""


def image_metrics(
    logits: torch.Tensor, label: torch.Tensor, slice_axis: int | None, spacing: Sequence[float]
) -> dict[str, np.ndarray]:
    """Computes all metrics of one image.

    Parameters
    ----------
    logits
        (C, X, Y) for a picture or (C, X, Y, Z) for a volume. The prediction is logits above 0, probabilities above 0.5.
    label
        Label of the same shape, boolean.
    slice_axis
        Axis of the volume, 0 to 2, across its slices; None for a picture, which is one slice.
    spacing
        Spacing of every spatial axis: in mm for a volume, 1 for a picture.

    Returns
    -------
    dict
        ``dice``, ``iou``, ``hd95`` and ``surface_dice`` of the image, (1, C) each; the same metrics of the slices with
        the prefix ``slice_``, and ``published_dice`` and ``published_iou``, (slices, C) each.
    """
    prediction = logits > 0
    by_slice = [as_slices(part, slice_axis) for part in (logits, prediction, label)]
    in_plane = [width for axis, width in enumerate(spacing) if axis != slice_axis]
    slices = {
        **overlap_metrics(*by_slice[1:]),
        **surface_metrics(by_slice[1].contiguous(), by_slice[2].contiguous(), in_plane),
    }
    return {
        **overlap_metrics(prediction[None], label[None]),
        **surface_metrics(prediction[None], label[None], spacing),
        **{f"slice_{name}": values for name, values in slices.items()},
        **published_metrics(by_slice[0], by_slice[2]),
    }


def as_slices(image: torch.Tensor, slice_axis: int | None) -> torch.Tensor:
    """Returns the slices of an image without a copy: (C, X, Y[, Z]) -> (slices, C, ..., ...)."""
    return image[None] if slice_axis is None else image.movedim(1 + slice_axis, 0)


def overlap_metrics(prediction: torch.Tensor, label: torch.Tensor) -> dict[str, np.ndarray]:
    """Computes Dice and intersection over union of masks with MONAI.

    Parameters
    ----------
    prediction, label
        (n, C, ...) boolean.

    Returns
    -------
    dict
        ``dice`` and ``iou``, (n, C) each. NaN if the label is empty, for any prediction.

    Notes
    -----
    Source: ``monai.metrics.compute_dice`` and ``compute_iou`` with ``ignore_empty``.
    """
    values = {"dice": compute_dice(prediction, label), "iou": compute_iou(prediction, label)}
    return {name: value.cpu().double().numpy() for name, value in values.items()}


def published_metrics(logits: torch.Tensor, label: torch.Tensor) -> dict[str, np.ndarray]:
    """Computes Dice and intersection over union of slices as in the tables of FedFMS.

    At each threshold t of :data:`PUBLISHED_THRESHOLDS` the prediction is the logits, not the probabilities, above t.
    Dice is (2·I + 1e-4) / (P + L + 1e-4) and IoU is (I + 1e-6) / (U + 1e-6), with the numbers of pixels in
    intersection, prediction, label and union. The value of a slice is the mean over the thresholds. Every slice counts,
    also with an empty label: its value is 1 without a prediction, and nearly 0 with one. The published code uses a grid
    of 256×256 pixels, this function the grid of the source.

    Parameters
    ----------
    logits, label
        (n, C, H, W); the label is boolean.

    Returns
    -------
    dict
        ``published_dice`` and ``published_iou``, (n, C) each.

    Notes
    -----
    Source: "FedFMS: Exploring Federated Foundation Models for Medical Image Segmentation", arXiv 2403.05408, the
    evaluation in its published code.
    """
    labelled = label.sum((2, 3)).double()  # (n, C)
    dice, iou = [], []
    for threshold in PUBLISHED_THRESHOLDS:
        predicted = logits > threshold
        shared, found = (predicted & label).sum((2, 3)).double(), predicted.sum((2, 3)).double()
        dice.append(_smoothed(2 * shared, found + labelled, PUBLISHED_SMOOTHING["dice"]))
        iou.append(_smoothed(shared, found + labelled - shared, PUBLISHED_SMOOTHING["iou"]))
    means = {"published_dice": torch.stack(dice).mean(0), "published_iou": torch.stack(iou).mean(0)}
    return {name: mean.cpu().numpy() for name, mean in means.items()}


def mean_metrics(images: Sequence[Values], weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Averages metrics over images, or over all their slices, for R weightings of the images at once.

    Parameters
    ----------
    images
        Metrics of the N images.
    weights
        (R, N), not negative. All slices of a volume have the weight of the volume. None for one row of ones.

    Returns
    -------
    dict
        (R, 1 + C) each. Column 0: the mean over the images (slices) of the mean over their classes. Columns 1 to C: the
        mean of each class. NaN and infinite values are left out: for overlap, classes missing in the label; for
        ``hd95``, classes missing in label or prediction; for ``surface_dice``, classes missing in both. The mean is NaN
        if no value is left, as with MONAI's reduction ``mean``.
    """
    weights = np.ones((1, len(images))) if weights is None else weights
    return {name: _weighted_mean([image[name] for image in images], weights) for name in images[0]}


def _weighted_mean(values: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    sums, counts = zip(*(_sum_of_defined(_with_mean(part), axis=0) for part in values), strict=True)
    total, number = weights @ np.stack(sums), weights @ np.stack(counts)  # (R, 1 + C) each
    mean: np.ndarray = np.where(number > 0, total / np.where(number > 0, number, 1), np.nan)
    return mean


def _with_mean(values: np.ndarray) -> np.ndarray:
    """Inserts the mean over the classes as the first column: (n, C) -> (n, 1 + C)."""
    total, number = _sum_of_defined(values, axis=1)
    mean = np.where(number > 0, total / np.where(number > 0, number, 1), np.nan)
    return np.concatenate([mean[:, None], values], axis=1)  # (n, 1 + C)


def _sum_of_defined(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    defined = np.isfinite(values)
    return np.where(defined, values, 0).sum(axis), defined.sum(axis)


def _smoothed(numerator: torch.Tensor, denominator: torch.Tensor, smoothing: float) -> torch.Tensor:
    return (numerator + smoothing) / (denominator + smoothing)
