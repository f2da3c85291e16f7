"""Runs federated statistics in NVFlare's simulator before training, and writes their page to the run folder."""

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
"""Folder of NVFlare's own files in the run folder: logs and the job."""


class SimulatedStatistics:
    """Counts and measures the images of all sites of a federation, each site in its own process.

    Parameters
    ----------
    federation
        The federation. The images of its sites must be here.
    min_count
        Minimum number of patients of a statistic that leaves its site.

    Raises
    ------
    ValueError
        `min_count` is not a whole number above 0.
    """

    def __init__(self, federation: Federation, min_count: int = 10) -> None:
        check_number("statistics_min_count", min_count, least=1, whole=True)
        self.federation, self.min_count = federation, min_count

    def run(self) -> dict[str, Any]:
        """Runs the job and writes the page; returns the record of :func:`statistics_record`.

        Raises
        ------
        ValueError
            The images of the sites are not here, or an agreed value is not a plain value.
        RuntimeError
            The simulator ended without a result. The message has the path and the end of its log.
        """
        if self.federation.sites.elsewhere:
            raise ValueError("dataset_dir 'none': the simulator reads the images here, expected their folder")
        place = self.federation.output_dir.resolve() / PLACE
        job = write_statistics_job(self.federation, self.min_count, PLACE, place / "job")
        result = place / SERVER_RUN / RESULT
        result.unlink(missing_ok=True)
        classes, variables = (*SERVER_CLASSES, *SITE_CLASSES), {MIN_COUNT: str(self.min_count)}
        ended = simulate(self.federation, job, place, classes, _wait, variables)
        if not result.is_file():
            raise RuntimeError(f"no statistics: {ended}")
        record = statistics_record(self.federation, self.min_count, json.loads(result.read_text()))
        write_statistics(record, self.federation.output_dir)
        return record


def statistics_record(federation: Federation, min_count: int, answer: dict[str, Any]) -> dict[str, Any]:
    """Returns the record of a statistics job, from which its page is written.

    Parameters
    ----------
    federation
        The federation whose sites took part.
    min_count
        Minimum number of patients in the job.
    answer
        Content of the file that NVFlare's server wrote.

    Returns
    -------
    dict
        ``method``, ``class_names``, ``min_count``, ``bins``, ``bins_percent``; ``sites``, with name and role of each
        site; ``statistics``, NVFlare's numbers by quantity, statistic, site (or ``Global``) and data set.
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
