"""NVFlare's statistics executor at a site, with the site's own privacy settings, which a job cannot change."""

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
"""Maximum number of bins, in percent of a site's patients, as NVFlare recommends."""

NOISE = (0.1, 0.3)
"""Minimum and maximum noise on the range of a site, as a share of the range, as NVFlare recommends."""


class SiteStatisticsExecutor(StatisticsExecutor):  # type: ignore[misc]
    """Answers NVFlare's statistics tasks, and cleanses every answer before the filters of the job.

    A job can leave out its filters, but not the cleansing of this class: the minimum count from the site's environment,
    noise on the ranges of the site, and a maximum number of bins.

    Parameters
    ----------
    generator_id
        Name of the component that computes the statistics.
    """

    def __init__(self, generator_id: str) -> None:
        super().__init__(generator_id)

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answers one task. Every answer is cleansed."""
        reply: Shareable = super().execute(task_name, shareable, fl_ctx, abort_signal)
        if reply.get_return_code() != ReturnCode.OK:
            return reply
        least = SiteEnvironment.read().min_count
        cleansers = [SmallCounts(least), AddNoiseToMinMax(*NOISE), HistogramBinsCleanser(BINS_PERCENT)]
        site = fl_ctx.get_identity_name()
        cleansed = StatisticsPrivacyFilter([]).filter_stats_statistics(from_shareable(reply), site, cleansers)
        answer: Shareable = cleansed.to_shareable()
        return answer
