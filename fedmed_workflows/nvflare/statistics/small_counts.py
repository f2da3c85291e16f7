"""What a site withholds of its statistics: everything of which it has too few patients, their number included."""

from __future__ import annotations

from typing import Any

from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.app_common.statistics.min_count_cleanser import MinCountCleanser

from fedmed_workflows.sites.cases import CLASS

COUNT, FAILURES = StatisticsConstants.STATS_COUNT, StatisticsConstants.STATS_FAILURE_COUNT


class SmallCounts(MinCountCleanser):  # type: ignore[misc]
    """NVFlare's least number of records, with what it leaves.

    NVFlare's own cleanser removes what was measured of too few records, and sends their number: it says that a site
    has three patients of a class, and makes the mean over all sites wrong, as it is a sum without this site over a
    count with it. Here the number stays at the site, too. What stays there is still named, with its count of failures.

    The classes of a site sum up to its number of images. Where the patients of all withheld classes together are too
    few, the smallest of the other classes is withheld with them, as the difference would tell.

    Parameters
    ----------
    min_count
        Patients that a statistic must be of.
    """

    def __init__(self, min_count: float) -> None:
        super().__init__(min_count)

    def apply(self, statistics: dict[str, Any], client_name: str) -> tuple[dict[str, Any], bool]:
        """Removes what is of too few patients; the statistics, and whether anything was removed."""
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
