"""Metrics of segmented images: overlap and surfaces, image by image and slice by slice, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.metrics import compute_dice, compute_iou

from fedmed_workflows.evaluation.surfaces import surface_metrics

PUBLISHED_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the published FedFMS evaluation, applied to logits as if they were probabilities."""

PUBLISHED_SMOOTHING = {"dice": 1e-4, "iou": 1e-6}
"""Added to numerator and denominator, so that an empty prediction of an empty label scores one."""

Values = Mapping[str, np.ndarray]
"""Metrics of one image by name, (n, C) each: one row for an image, one row a slice; NaN where undefined."""


def image_metrics(
    logits: torch.Tensor, label: torch.Tensor, slice_axis: int | None, spacing: Sequence[float]
) -> dict[str, np.ndarray]:
    """All metrics of one image.

    Parameters
    ----------
    logits
        (C, X, Y) of a picture or (C, X, Y, Z) of a volume; the prediction is what lies above 0, probability 0.5.
    label
        Of the same shape, boolean.
    slice_axis
        Which axis of the volume, 0 to 2, its slices follow each other along; None for a picture, which is one slice.
    spacing
        Of every axis without channels: mm of a volume, 1 of a picture.

    Returns
    -------
    dict
        ``dice``, ``iou``, ``hd95`` and ``surface_dice`` of the image, (1, C) each; the same of its slices with
        ``slice_`` in front, and ``published_dice`` and ``published_iou``, (slices, C) each.
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
    """The slices of an image, without a copy: (C, X, Y[, Z]) -> (slices, C, ..., ...)."""
    return image[None] if slice_axis is None else image.movedim(1 + slice_axis, 0)


def overlap_metrics(prediction: torch.Tensor, label: torch.Tensor) -> dict[str, np.ndarray]:
    """Dice and intersection over union of masks, as MONAI computes them.

    Parameters
    ----------
    prediction, label
        (n, C, ...) boolean.

    Returns
    -------
    dict
        ``dice`` and ``iou``, (n, C) each. NaN where the label is empty, whatever is predicted there.

    Notes
    -----
    Source: ``monai.metrics.compute_dice`` and ``compute_iou`` with ``ignore_empty``.
    """
    values = {"dice": compute_dice(prediction, label), "iou": compute_iou(prediction, label)}
    return {name: value.cpu().double().numpy() for name, value in values.items()}


def published_metrics(logits: torch.Tensor, label: torch.Tensor) -> dict[str, np.ndarray]:
    """Dice and intersection over union of slices as the tables of FedFMS hold them.

    At each threshold t of :data:`PUBLISHED_THRESHOLDS` a slice's prediction is where its logits, not its probabilities,
    exceed t; Dice is (2·I + 1e-4) / (P + L + 1e-4) and IoU is (I + 1e-6) / (U + 1e-6) of the pixels in the
    intersection, the prediction, the label and the union; a slice's value is the mean over the thresholds. Every slice
    counts, also those whose label is empty: 1 if nothing is predicted there, nearly 0 if anything is. The published
    code computes this on a grid of 256×256, here it is the grid of the source.

    Parameters
    ----------
    logits, label
        (n, C, H, W); the label boolean.

    Returns
    -------
    dict
        ``published_dice`` and ``published_iou``, (n, C) each.

    Notes
    -----
    Source: "FedFMS: Exploring Federated Foundation Models for Medical Image Segmentation", arXiv 2403.05408, the
    evaluation in its published code.
    """
    labelled = label.sum((2, 3)).double()
    dice, iou = [], []
    for threshold in PUBLISHED_THRESHOLDS:
        predicted = logits > threshold
        shared, found = (predicted & label).sum((2, 3)).double(), predicted.sum((2, 3)).double()
        dice.append(_smoothed(2 * shared, found + labelled, PUBLISHED_SMOOTHING["dice"]))
        iou.append(_smoothed(shared, found + labelled - shared, PUBLISHED_SMOOTHING["iou"]))
    means = {"published_dice": torch.stack(dice).mean(0), "published_iou": torch.stack(iou).mean(0)}
    return {name: mean.cpu().numpy() for name, mean in means.items()}


def mean_metrics(images: Sequence[Values], weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Means over images or over all their slices, for R weightings of the images at once.

    Parameters
    ----------
    images
        The N images' metrics.
    weights
        (R, N) non-negative, a volume's slices share its weight; None for one row of ones.

    Returns
    -------
    dict
        (R, 1 + C) each. Column 0: the mean over the images (the slices) of the mean over their classes. Columns 1 to C:
        the mean of each class. Left out is what is NaN or infinite: of overlap, classes that the label lacks; of
        ``hd95``, classes that label or prediction lack; of ``surface_dice``, classes that both lack. NaN where nothing
        is left, as MONAI's reduction ``mean`` has it.
    """
    weights = np.ones((1, len(images))) if weights is None else weights
    return {name: _weighted_mean([image[name] for image in images], weights) for name in images[0]}


def _weighted_mean(values: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    sums, counts = zip(*(_sum_of_defined(_with_mean(part), axis=0) for part in values), strict=True)
    total, number = weights @ np.stack(sums), weights @ np.stack(counts)
    mean: np.ndarray = np.where(number > 0, total / np.where(number > 0, number, 1), np.nan)
    return mean


def _with_mean(values: np.ndarray) -> np.ndarray:
    """Puts the mean over the classes in front of them: (n, C) -> (n, 1 + C)."""
    total, number = _sum_of_defined(values, axis=1)
    mean = np.where(number > 0, total / np.where(number > 0, number, 1), np.nan)
    return np.concatenate([mean[:, None], values], axis=1)


def _sum_of_defined(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    defined = np.isfinite(values)
    return np.where(defined, values, 0).sum(axis), defined.sum(axis)


def _smoothed(numerator: torch.Tensor, denominator: torch.Tensor, smoothing: float) -> torch.Tensor:
    return (numerator + smoothing) / (denominator + smoothing)
