"""NVFlare's statistics at a site, with the privacy that the site's own people ask for, whatever a job asks."""

from __future__ import annotations

from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.executors.statistics.statistics_executor import StatisticsExecutor
from nvflare.app_common.filters.statistics_privacy_filter import StatisticsPrivacyFilter
from nvflare.app_common.statistics.histogram_bins_cleanser import HistogramBinsCleanser
from nvflare.app_common.statistics.min_max_cleanser import AddNoiseToMinMax

from fedmed_workflows.nvflare.site.environment import SiteEnvironment
from fedmed_workflows.nvflare.statistics.small_counts import SmallCounts

BINS_PERCENT = 10
"""Bins that a histogram may have, in percent of a site's patients: NVFlare's recommendation."""

NOISE = (0.1, 0.3)
"""Least and greatest noise on a site's range, as a share of it: NVFlare's recommendation."""


class SiteStatisticsExecutor(StatisticsExecutor):  # type: ignore[misc]
    """Answers NVFlare's statistics tasks, and cleanses every answer before the job's own filters see it.

    A job names its filters, and may leave them out. What is applied here it cannot lower: the least count of the site's
    environment, noise on the site's ranges, and few bins.

    Parameters
    ----------
    generator_id
        NVFlare's name of the component that counts.
    """

    def __init__(self, generator_id: str) -> None:
        super().__init__(generator_id)

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answers one task; without cleansing there is no answer."""
        reply: Shareable = super().execute(task_name, shareable, fl_ctx, abort_signal)
        if reply.get_return_code() != ReturnCode.OK:
            return reply
        least = SiteEnvironment.read().min_count
        cleansers = [SmallCounts(least), AddNoiseToMinMax(*NOISE), HistogramBinsCleanser(BINS_PERCENT)]
        site = fl_ctx.get_identity_name()
        cleansed = StatisticsPrivacyFilter([]).filter_stats_statistics(from_shareable(reply), site, cleansers)
        answer: Shareable = cleansed.to_shareable()
        return answer
