"""Runs federated statistics across hospitals: submits a statistics job and writes its page."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed_workflows.nvflare.job.statistics_job import RESULT, write_statistics_job
from fedmed_workflows.nvflare.run.administrator import AdministratorSession, run_until_result
from fedmed_workflows.nvflare.run.simulated_statistics import SimulatedStatistics, statistics_record
from fedmed_workflows.report.statistics_page import write_statistics

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation

NAME = "statistics"


class ProductionStatistics(SimulatedStatistics):
    """Counts and measures the images of all sites of a federation, at the sites.

    Parameters
    ----------
    federation
        The federation with the names of the sites. The images need not be here.
    min_count
        Minimum number of patients of a statistic that leaves its site; a site may set a higher minimum.
    startup_kit
        Folder of the administrator's start-up kit.

    Raises
    ------
    ValueError
        `min_count` is not a whole number above 0.
    """

    def __init__(self, federation: Federation, min_count: int = 10, startup_kit: str | None = None) -> None:
        super().__init__(federation, min_count)
        self.startup_kit = startup_kit

    def run(self) -> dict[str, Any]:
        """Submits the job and writes the page; returns the record of the page.

        Raises
        ------
        ValueError
            There is no start-up kit, or an agreed value is not a plain value.
        FederationError
            The job ended without a result because a site did not answer or refused the job.
        """
        with tempfile.TemporaryDirectory() as folder, AdministratorSession(self.startup_kit) as server:
            job = write_statistics_job(self.federation, self.min_count, NAME, Path(folder))
            answer = run_until_result(server, job, Path(folder), _result, lambda history: None)
        record = statistics_record(self.federation, self.min_count, answer)
        write_statistics(record, self.federation.output_dir)
        return record


def _result(place: Path) -> dict[str, Any] | None:
    return next((json.loads(file.read_text()) for file in place.rglob(Path(RESULT).name)), None)
