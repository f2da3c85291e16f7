"""Metrics of class probabilities with weighted cases, so that one product computes all bootstrap resamples."""

from __future__ import annotations

import numpy as np

CALIBRATION_BINS = 10
"""Number of confidence bins of the calibration error and the reliability diagram."""


def classification_metrics(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Computes metrics of class probabilities, for R weightings of the cases at once.

    Parameters
    ----------
    probabilities
        (N, C); each row sums to one.
    labels
        (N,) integer classes.
    weights
        (R, N), not negative; None for one row of ones.

    Returns
    -------
    dict
        (R,) each: ``accuracy``; ``balanced_accuracy``, the mean recall of the classes that occur; ``macro_f1``, the
        mean over the classes that occur or are predicted; ``auroc``, one class against the rest, the mean over the
        classes with positive and negative cases; ``ece``, the expected calibration error over ten bins. NaN if
        undefined.

    Notes
    -----
    Equal to scikit-learn's ``accuracy_score``, ``balanced_accuracy_score``, ``f1_score(average="macro")`` and
    ``roc_auc_score(multi_class="ovr")`` with ``sample_weight`` where every class occurs. ECE: Naeini et al., "Obtaining
    Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    if not np.isfinite(probabilities).all():
        raise ValueError(
            "probabilities: found values that are not finite; the network's weights may be NaN or infinite"
        )
    weights = np.ones((1, len(labels))) if weights is None else weights
    confusion = confusion_counts(probabilities, labels, weights)
    hits, occurs, predicted = confusion.diagonal(axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)
    return {
        "accuracy": hits.sum(axis=1) / occurs.sum(axis=1),
        "balanced_accuracy": _mean_of_defined(hits, occurs),
        "macro_f1": _mean_of_defined(2 * hits, occurs + predicted),
        "auroc": _auroc(probabilities, labels, weights),
        "ece": _calibration_error(probabilities, labels, weights),
    }


def confusion_counts(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums the weights by true class (rows) and predicted class (columns): (N, C), (N,), (R, N) -> (R, C, C)."""
    classes = probabilities.shape[1]
    cells = np.eye(classes**2)[labels * classes + probabilities.argmax(axis=1)]  # (N, C * C)
    return (weights @ cells).reshape(-1, classes, classes)  # (R, C, C)


def calibration_bins(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums weights, confidences and hits over ten equal bins of confidence: (R, 10) each."""
    confidence = probabilities.max(axis=1)
    place = np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1).astype(int)
    bins = np.eye(CALIBRATION_BINS)[place]  # (N, 10)
    hits = probabilities.argmax(axis=1) == labels
    return weights @ bins, weights @ (bins * confidence[:, None]), weights @ (bins * hits[:, None])


def _calibration_error(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    count, confidence, hits = calibration_bins(probabilities, labels, weights)
    gaps: np.ndarray = np.abs(confidence - hits).sum(axis=1) / count.sum(axis=1)
    return gaps


def _mean_of_defined(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Averages a ratio over the classes with a positive denominator: (R, C), (R, C) -> (R,)."""
    defined = denominator > 0
    ratio = np.where(defined, numerator / np.where(defined, denominator, 1), 0)
    mean: np.ndarray = ratio.sum(axis=1) / np.where(defined.any(axis=1), defined.sum(axis=1), np.nan)
    return mean


def _auroc(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Averages over the classes the probability that a case of the class has a higher score than another case."""
    classes = range(probabilities.shape[1])
    areas, pairs = zip(*(_pairs_won(probabilities[:, c], labels == c, weights) for c in classes), strict=True)
    return _mean_of_defined(np.stack(areas, axis=1), np.stack(pairs, axis=1))


def _pairs_won(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weight of correctly ordered pairs (positive, negative), ties half, and of all pairs: (R,) each."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)  # where a run of equal scores begins
    above = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    below = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    won = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
    return won, above.sum(axis=1) * below.sum(axis=1)
