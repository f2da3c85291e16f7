"""Writes federated statistics as a job of NVFlare: its statistics controller, executor and privacy filter, no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.app_common.filters.statistics_privacy_filter import StatisticsPrivacyFilter
from nvflare.app_common.statistics.json_stats_file_persistor import JsonStatsFileWriter
from nvflare.app_common.workflows.statistics_controller import StatisticsController
from nvflare.job_config.fed_app_config import ClientAppConfig, ServerAppConfig

from fedmed_workflows.nvflare.job.federation_job import site_part
from fedmed_workflows.nvflare.job.folder import write_job_folder
from fedmed_workflows.nvflare.site.executor import JOB
from fedmed_workflows.nvflare.statistics.executor import SiteStatisticsExecutor
from fedmed_workflows.nvflare.statistics.image_statistics import ImageStatistics
from fedmed_workflows.nvflare.statistics.small_counts import SmallCounts

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation

RESULT = "statistics/nvflare.json"
"""File of the result, in the folder of the job on NVFlare's server."""

BINS = 10
"""Number of bins of a histogram."""

STATISTICS: dict[str, dict[str, dict[str, int]]] = {
    "count": {}, "failure_count": {}, "sum": {}, "mean": {}, "stddev": {}, "histogram": {"*": {"bins": BINS}},
}  # fmt: skip

SERVER_CLASSES = (StatisticsController, JsonStatsFileWriter)
SITE_CLASSES = (SiteStatisticsExecutor, StatisticsPrivacyFilter, ImageStatistics, SmallCounts)
"""Classes that the job names. The policies of the server and of the sites must allow them."""


def write_statistics_job(federation: Federation, min_count: int, name: str, job_dir: Path) -> Path:
    """Writes the folder of a statistics job for ``nvflare job submit``, atomically.

    Parameters
    ----------
    federation
        The federation. All of its sites take part, including the unseen site.
    min_count
        Minimum number of patients of a statistic; a site may set a higher minimum.
    name
        Name of the job.
    job_dir
        Parent of the new job folder.

    Returns
    -------
    Path
        ``job_dir/name``.

    Raises
    ------
    ValueError
        As :func:`fedmed_workflows.nvflare.job.federation_job.write_job`, or a site has NVFlare's name for all sites.
    """
    sites = list(federation.sites.paths)
    all_sites = StatisticsConstants.GLOBAL
    if all_sites in sites:
        raise ValueError(f"site {all_sites!r}: this is NVFlare's name for all sites, expected another name")
    part = {**site_part(federation, name), "unseen": None}  # the statistics do not distinguish the unseen site
    return write_job_folder(name, sites, len(sites), (_server_app(), {}), (_site_app(min_count), {JOB: part}), job_dir)


def _server_app() -> ServerAppConfig:
    app = ServerAppConfig()
    app.add_workflow("statistics", StatisticsController(STATISTICS, "writer", enable_pre_run_task=False))
    app.add_component("writer", JsonStatsFileWriter(RESULT))
    return app


def _site_app(min_count: int) -> ClientAppConfig:
    app = ClientAppConfig()
    app.add_component("images", ImageStatistics())
    app.add_component("small_counts", SmallCounts(min_count))
    tasks = [StatisticsConstants.FED_STATS_TASK]
    app.add_executor(tasks, SiteStatisticsExecutor("images"))
    app.add_task_result_filter(tasks, StatisticsPrivacyFilter(["small_counts"]))
    return app
