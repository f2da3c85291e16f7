"""Federated statistics across hospitals: a statistics job is submitted, and its page is written here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed_workflows.nvflare.job.statistics_job import RESULT, write_statistics_job
from fedmed_workflows.nvflare.run.administrator import AdministratorSession, completed
from fedmed_workflows.nvflare.run.simulated_statistics import SimulatedStatistics, statistics_record
from fedmed_workflows.report.statistics_page import write_statistics

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation

NAME = "statistics"


class ProductionStatistics(SimulatedStatistics):
    """Counts and measures the images of every site of a federation, where they lie.

    Parameters
    ----------
    federation
        With the names of the sites; its images need not be here.
    min_count
        Patients that a statistic must be of to leave its site; a site may ask for more.
    startup_kit
        The administrator's start-up kit.

    Raises
    ------
    ValueError
        `min_count` is no whole number above 0.
    """

    def __init__(self, federation: Federation, min_count: int = 10, startup_kit: str | None = None) -> None:
        super().__init__(federation, min_count)
        self.startup_kit = startup_kit

    def run(self) -> dict[str, Any]:
        """Submits the job and writes the page; returns what it is made of.

        Raises
        ------
        ValueError
            There is no start-up kit, or a value that all agree on is no plain value.
        FederationError
            The job ended without a result: a site did not answer, or refused it.
        """
        with tempfile.TemporaryDirectory() as folder, AdministratorSession(self.startup_kit) as server:
            job = write_statistics_job(self.federation, self.min_count, NAME, Path(folder))
            answer = completed(server, job, Path(folder), _result, lambda history: None)
        record = statistics_record(self.federation, self.min_count, answer)
        write_statistics(record, self.federation.output_dir)
        return record


def _result(place: Path) -> dict[str, Any] | None:
    return next((json.loads(file.read_text()) for file in place.rglob(Path(RESULT).name)), None)
