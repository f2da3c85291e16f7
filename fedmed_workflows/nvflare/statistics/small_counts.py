"""Withholds the statistics of too few patients, including the number of these patients."""

from __future__ import annotations

from typing import Any

from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.app_common.statistics.min_count_cleanser import MinCountCleanser

from fedmed_workflows.sites.cases import CLASS

COUNT, FAILURES = StatisticsConstants.STATS_COUNT, StatisticsConstants.STATS_FAILURE_COUNT


class SmallCounts(MinCountCleanser):  # type: ignore[misc]
    """Removes the statistics of fewer patients than a minimum, with their count.

    NVFlare's own cleanser removes these statistics but sends their count. The count reveals, for example, that a site
    has three patients of a class. It also makes the mean over all sites wrong, because the sum excludes this site and
    the count includes it. This class therefore removes the count, too. The name of the quantity and its count of
    failures are still sent.

    The classes of a site sum up to its number of images. If all withheld classes together have too few patients, the
    smallest other class is also withheld. Otherwise the difference would reveal them.

    Parameters
    ----------
    min_count
        Minimum number of patients of a statistic.

    Examples
    --------
    >>> from fedmed_workflows import SmallCounts
    >>> statistics = {"count": {"site": {"intensity": 20, "spacing z": 3}}}
    >>> SmallCounts(min_count=10).apply(statistics, "hospital_a")
    ({'count': {'site': {'intensity': 20}}}, True)
    """

    def __init__(self, min_count: float) -> None:
        super().__init__(min_count)

    def apply(self, statistics: dict[str, Any], client_name: str) -> tuple[dict[str, Any], bool]:
        """Removes the statistics of too few patients; returns the statistics, and whether any were removed."""
        withheld = {(dataset, name) for dataset, counts in statistics[COUNT].items() for name in self._small(counts)}
        for statistic, datasets in statistics.items():
            for dataset, name in withheld:
                if statistic != FAILURES:
                    datasets.get(dataset, {}).pop(name, None)
        for dataset, name in sorted(withheld):
            self.logger.info("%s %s: of fewer than %s patients, withheld", dataset, name, self.min_count)
        return statistics, bool(withheld)

    def _small(self, counts: dict[str, int]) -> list[str]:
        small = [name for name, count in counts.items() if count < self.min_count]
        classes = {name: count for name, count in counts.items() if name.startswith(CLASS)}
        hidden = [name for name in classes if name in small]
        others = sorted((count, name) for name, count in classes.items() if name not in small)
        if hidden and others and sum(classes[name] for name in hidden) < self.min_count:
            small.append(others[0][1])
        return small
