"""Counts class probabilities in bins, for ROC and decision curves. The counts hold no single prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

EDGES = (0.0, 0.0001, 0.001, *(step / 100 for step in range(1, 100)), 0.999, 0.9999, 1.0)
"""Edges of the bins: hundredths, and smaller bins at both ends for the probabilities of a confident network."""


def score_counts(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Counts, for each class and bin, the images of the class and of all other classes with a probability in the bin.

    Parameters
    ----------
    probabilities
        (N, C); each row sums to one.
    labels
        (N,) integer classes.

    Returns
    -------
    dict
        ``edges`` of the B bins, where a bin includes its lower edge and the last bin both edges; ``positive`` and
        ``negative``, (C, B) counts of the images of the class and of the rest.
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
    """Adds the counts of several evaluations with the same edges, for example of several seeds."""
    sums = {name: np.sum([part[name] for part in counts], axis=0).tolist() for name in ("positive", "negative")}
    return {"edges": counts[0]["edges"], **sums}


def roc_curve(counts: Mapping[str, Any], rates: np.ndarray) -> np.ndarray:
    """Computes the sensitivity at given false-positive rates, one class against the rest, averaged over the classes.

    Parameters
    ----------
    counts
        Counts of :func:`score_counts`.
    rates
        (R,) false-positive rates in [0, 1].

    Returns
    -------
    numpy.ndarray
        (R,) sensitivities; NaN if no class has positive and negative images. The curve is linear between two edges of
        the bins.

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
    """Computes the net benefit of treatment at a probability of at least a threshold, averaged over the classes.

    Parameters
    ----------
    counts
        Counts of :func:`score_counts`.
    thresholds
        (T,) thresholds, each an edge of the bins and below 1.

    Returns
    -------
    numpy.ndarray
        (T,) true positives minus false positives times the odds of the threshold, per image; NaN if no class has
        positive and negative images.

    Notes
    -----
    Source: Vickers and Elkin, "Decision curve analysis: a novel method for evaluating prediction models", 2006. At a
    threshold t, a missed case has (1 - t) / t times the weight of an unnecessary treatment.
    """
    places = [counts["edges"].index(threshold) for threshold in thresholds]
    odds = np.array([threshold / (1 - threshold) for threshold in thresholds])
    curves = []
    for positive, negative in _defined(counts):
        true, false = (np.array([part[place:].sum() for place in places]) for part in (positive, negative))
        curves.append((true - false * odds) / (positive.sum() + negative.sum()))
    return np.mean(curves, axis=0) if curves else np.full(len(places), np.nan)


def benefit_of_all(counts: Mapping[str, Any], thresholds: Sequence[float]) -> np.ndarray:
    """Computes the net benefit of treating all patients, (T,), see :func:`net_benefit`. Treating none has benefit 0."""
    odds = np.array([threshold / (1 - threshold) for threshold in thresholds])
    shares = [(positive.sum(), negative.sum()) for positive, negative in _defined(counts)]
    curves = [(positive - negative * odds) / (positive + negative) for positive, negative in shares]
    return np.mean(curves, axis=0) if curves else np.full(len(thresholds), np.nan)


def _defined(counts: Mapping[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the counts of the classes with positive and negative images."""
    pairs = zip(np.asarray(counts["positive"]), np.asarray(counts["negative"]), strict=True)
    return [(positive, negative) for positive, negative in pairs if positive.any() and negative.any()]


def _share_above(counts: np.ndarray) -> np.ndarray:
    """Returns the share of the images at or above each edge, (B + 1,), in descending order of the edges."""
    above = np.concatenate([[0], counts[::-1].cumsum()])
    return above / counts.sum()
