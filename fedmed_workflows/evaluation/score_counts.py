"""Class probabilities as counts in bins: all that ROC and decision curves need, and no single prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EDGES = (0.0, 0.0001, 0.001, *(step / 100 for step in range(1, 100)), 0.999, 0.9999, 1.0)
"""Edges of the bins: hundredths, and finer at both ends, where a confident network's probabilities lie."""


def score_counts(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How many images of a class, and of all others, have a probability of the class in each bin.

    Parameters
    ----------
    probabilities
        (N, C), rows sum to one.
    labels
        (N,) integer classes.

    Returns
    -------
    dict
        ``edges`` of the B bins, each of which holds its lower edge and the last both; ``positive`` and ``negative``,
        (C, B) counts of the images of the class and of the rest.
    """
    classes = np.arange(probabilities.shape[1])
    bins = np.clip(np.searchsorted(EDGES, probabilities, side="right") - 1, 0, len(EDGES) - 2)  # (N, C)
    own = labels[:, None] == classes
    counts = {
        name: [np.bincount(bins[chosen[:, c], c], minlength=len(EDGES) - 1).tolist() for c in classes]
        for name, chosen in (("positive", own), ("negative", ~own))
    }
    return {"edges": list(EDGES), **counts}


def added_counts(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of several evaluations together, such as those of several seeds; all have the same edges."""
    sums = {name: np.sum([part[name] for part in counts], axis=0).tolist() for name in ("positive", "negative")}
    return {"edges": counts[0]["edges"], **sums}


def roc_curve(counts: Mapping[str, Any], rates: np.ndarray) -> np.ndarray:
    """Sensitivity at given false-positive rates, each class against the rest, the mean over the classes.

    Parameters
    ----------
    counts
        Of :func:`score_counts`.
    rates
        (R,) false-positive rates in [0, 1].

    Returns
    -------
    numpy.ndarray
        (R,) sensitivities; NaN if no class has images and leaves a rest. Between two edges of the bins the curve is
        straight.

    Notes
    -----
    Mean at equal false-positive rates: Fawcett, "An introduction to ROC analysis", 2006, section 10.1.
    """
    curves = []
    for positive, negative in _defined(counts):
        sensitivity, false = (_share_above(part) for part in (positive, negative))
        curves.append(np.interp(rates, false, sensitivity))
    return np.mean(curves, axis=0) if curves else np.full(len(rates), np.nan)


def net_benefit(counts: Mapping[str, Any], thresholds: Sequence[float]) -> np.ndarray:
    """Net benefit of treating whom the classifier gives at least a threshold's probability, mean over the classes.

    Parameters
    ----------
    counts
        Of :func:`score_counts`.
    thresholds
        (T,) edges of the bins, below 1.

    Returns
    -------
    numpy.ndarray
        (T,) true positives less false positives weighed by the odds of the threshold, per image; NaN if no class has
        images and leaves a rest.

    Notes
    -----
    Vickers and Elkin, "Decision curve analysis: a novel method for evaluating prediction models", 2006. A threshold t
    says that a missed case weighs (1 - t) / t times as much as a needless treatment.
    """
    places = [counts["edges"].index(threshold) for threshold in thresholds]
    odds = np.array([threshold / (1 - threshold) for threshold in thresholds])
    curves = []
    for positive, negative in _defined(counts):
        true, false = (np.array([part[place:].sum() for place in places]) for part in (positive, negative))
        curves.append((true - false * odds) / (positive.sum() + negative.sum()))
    return np.mean(curves, axis=0) if curves else np.full(len(places), np.nan)


def benefit_of_all(counts: Mapping[str, Any], thresholds: Sequence[float]) -> np.ndarray:
    """Net benefit of treating everybody: (T,), as of :func:`net_benefit`. That of treating nobody is 0."""
    odds = np.array([threshold / (1 - threshold) for threshold in thresholds])
    shares = [(positive.sum(), negative.sum()) for positive, negative in _defined(counts)]
    curves = [(positive - negative * odds) / (positive + negative) for positive, negative in shares]
    return np.mean(curves, axis=0) if curves else np.full(len(thresholds), np.nan)


def _defined(counts: Mapping[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Counts of the classes that have images and leave a rest."""
    pairs = zip(np.asarray(counts["positive"]), np.asarray(counts["negative"]), strict=True)
    return [(positive, negative) for positive, negative in pairs if positive.any() and negative.any()]


def _share_above(counts: np.ndarray) -> np.ndarray:
    """(B + 1,) share of the images at or above each edge, from the highest edge, of which there are none, down."""
    above = np.concatenate([[0], counts[::-1].cumsum()])
    return above / counts.sum()
