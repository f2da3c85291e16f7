"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np

LEVEL = 0.95
"""Coverage of the intervals."""


def resample_weights(size: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each case is drawn in every bootstrap resample.

    Parameters
    ----------
    size
        Number N of cases.
    resamples
        Number R of resamples, each of N cases drawn with replacement.
    seed
        Seed of the drawing.

    Returns
    -------
    numpy.ndarray
        (R, N) counts as float64, every row sums to N; of a single case (0, 1), as drawing it again tells nothing.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 6.
    """
    drawn = resamples if size > 1 else 0
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), drawn).astype(np.float64)


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """The interval that holds the central 95% of a statistic over resamples.

    Parameters
    ----------
    values
        (R,) the statistic of each resample; NaN where a resample does not define it (it lacks a class).

    Returns
    -------
    tuple
        ``(low, high)``, NaN where no resample defines the statistic.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
