"""Federated statistics before training, in NVFlare's simulator, as a page beside the run's report."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from fedmed_networks.settings import check_number
from fedmed_workflows.nvflare.job.statistics_job import BINS, RESULT, SERVER_CLASSES, SITE_CLASSES, write_statistics_job
from fedmed_workflows.nvflare.run.simulated_job import SERVER_RUN, simulate
from fedmed_workflows.nvflare.site.environment import MIN_COUNT
from fedmed_workflows.nvflare.statistics.executor import BINS_PERCENT
from fedmed_workflows.report.statistics_page import write_statistics

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation

PLACE = "statistics"
"""Where NVFlare's own files lie, in the run's folder: logs, and the job as it was run."""


class SimulatedStatistics:
    """Counts and measures the images of every site of a federation, each site in a process of its own.

    Parameters
    ----------
    federation
        With the sites' images here.
    min_count
        Patients that a statistic must be of to leave its site.

    Raises
    ------
    ValueError
        `min_count` is no whole number above 0.
    """

    def __init__(self, federation: Federation, min_count: int = 10) -> None:
        check_number("statistics_min_count", min_count, least=1, whole=True)
        self.federation, self.min_count = federation, min_count

    def run(self) -> dict[str, Any]:
        """Runs the job and writes the page; returns what :func:`statistics_record` makes of the answer.

        Raises
        ------
        ValueError
            The sites' images are not here, or a value that all agree on is no plain value.
        RuntimeError
            The simulator ended without a result; the message holds the end of its log and the log's file.
        """
        if self.federation.sites.elsewhere:
            raise ValueError("dataset_dir none: the simulator's sites read images that lie here, expected their folder")
        place = self.federation.output_dir.resolve() / PLACE
        job = write_statistics_job(self.federation, self.min_count, PLACE, place / "job")
        result = place / SERVER_RUN / RESULT
        result.unlink(missing_ok=True)
        classes, own = (*SERVER_CLASSES, *SITE_CLASSES), {MIN_COUNT: str(self.min_count)}
        ended = simulate(self.federation, job, place, classes, _wait, own)
        if not result.is_file():
            raise RuntimeError(f"no statistics: {ended}")
        record = statistics_record(self.federation, self.min_count, json.loads(result.read_text()))
        write_statistics(record, self.federation.output_dir)
        return record


def statistics_record(federation: Federation, min_count: int, answer: dict[str, Any]) -> dict[str, Any]:
    """What the page of a statistics job is made of, in the simulator or elsewhere.

    Parameters
    ----------
    federation
        Whose sites took part.
    min_count
        Of the job.
    answer
        The content of the file that NVFlare's server wrote.

    Returns
    -------
    dict
        ``method``, ``class_names``, ``min_count``, ``bins``, ``bins_percent``; ``sites``, name and role of each;
        ``statistics``, NVFlare's numbers: by quantity, statistic, site (or ``Global``) and data set.
    """
    unseen = federation.sites.unseen[0] if federation.sites.unseen else None
    return {
        "method": federation.method,
        "class_names": list(federation.sites.class_names),
        "min_count": min_count,
        "bins": BINS,
        "bins_percent": BINS_PERCENT,
        "sites": [
            {"name": site, "role": "unseen" if site == unseen else "training"} for site in federation.sites.paths
        ],
        "statistics": answer,
    }


def _wait(process: subprocess.Popen[bytes]) -> None:
    process.wait()
