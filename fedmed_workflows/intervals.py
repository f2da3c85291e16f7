"""Bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEVEL = 0.95
"""Coverage of the intervals."""


def bootstrap_intervals(
    statistics: Callable[[np.ndarray], dict[str, float]], size: int, resamples: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of several statistics of the same cases.

    Parameters
    ----------
    statistics
        From indices of cases (with repetitions) to values by name. A value that is not defined on a resample (NaN, a
        class that it lacks) is left out.
    size
        Number of cases.
    resamples
        How often to draw `size` cases with replacement.
    seed
        Seed of the drawing.

    Returns
    -------
    dict
        ``(low, high)`` by name, NaN where no resample defines the statistic.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", chapter 13.
    """
    random = np.random.default_rng(seed)
    draws = [statistics(random.integers(0, size, size)) for _ in range(resamples)]
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    intervals = {}
    for name in draws[0]:
        values = np.array([draw[name] for draw in draws])
        values = values[~np.isnan(values)]
        low, high = np.quantile(values, tails) if len(values) else (np.nan, np.nan)
        intervals[name] = (float(low), float(high))
    return intervals
