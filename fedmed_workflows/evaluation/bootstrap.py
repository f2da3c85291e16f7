"""Bootstrap resamples and percentile intervals."""

from __future__ import annotations

import numpy as np

LEVEL = 0.95
"""Coverage of the intervals."""


def resample_weights(size: int, resamples: int, seed: int = 0) -> np.ndarray:
    """Draws bootstrap resamples; returns how often each resample contains each case.

    Parameters
    ----------
    size
        Number of cases, N.
    resamples
        Number of resamples, R. Each resample has N cases, drawn with replacement.
    seed
        Seed of the random draws.

    Returns
    -------
    numpy.ndarray
        (R, N) counts as float64; every row sums to N. For a single case (0, 1), as all resamples would be equal.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 6.
    """
    drawn = resamples if size > 1 else 0
    return np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), drawn).astype(np.float64)


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the interval with the central 95% of a statistic over resamples.

    Parameters
    ----------
    values
        (R,) statistic of each resample; NaN if a resample does not define it, for example without a class.

    Returns
    -------
    tuple
        ``(low, high)``; NaN if no resample defines the statistic.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
