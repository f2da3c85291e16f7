"""Runs a federation across hospitals: submits a job with an administrator's start-up kit and downloads its result."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed_workflows.federation.engine import Outcome
from fedmed_workflows.federation.progress import RoundProgress
from fedmed_workflows.federation.rounds import FederationError
from fedmed_workflows.federation.run_folder import RunFolder
from fedmed_workflows.nvflare.job.federation_job import network_of, write_job
from fedmed_workflows.nvflare.run.administrator import AdministratorSession, run_until_result
from fedmed_workflows.nvflare.run.simulator import read_outcome
from fedmed_workflows.nvflare.server.controller import FAILURE, OUTCOME
from fedmed_workflows.nvflare.server.tracking import keep_tracking

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation


class Production:
    """A federation whose server and sites run on other machines.

    A job that ended without a result, because the server was restarted or the process of a site died, is submitted
    again. It continues after the last complete round, which the server keeps.

    Parameters
    ----------
    federation
        The federation with the names of the sites. The images need not be here.
    startup_kit
        Folder of the administrator's start-up kit from NVFlare's provisioning; not needed for :meth:`export`.
    """

    def __init__(self, federation: Federation, startup_kit: str | None = None) -> None:
        self.federation, self.startup_kit = federation, startup_kit

    @property
    def name(self) -> str:
        """Name of the job and of the run folder at server and sites, unique for the identity of the run."""
        identity = json.dumps(self.federation.identity(), sort_keys=True)
        bundle = Path(self.federation.bundle_root).resolve().name
        return f"{bundle}_{hashlib.sha256(identity.encode()).hexdigest()[:12]}"

    def export(self, job_dir: str) -> str:
        """Writes the folder of the job for ``nvflare job submit``; returns its path.

        Raises
        ------
        ValueError
            As :func:`fedmed_workflows.nvflare.job.federation_job.write_job`.
        """
        network = network_of(self.federation)
        return str(write_job(self.federation, network, self.name, Path(job_dir).resolve()))

    def export_encrypted(self, job_dir: str) -> str:
        """Writes the folder of a job with encrypted updates, which the server cannot read; returns its path.

        Raises
        ------
        ValueError
            As :func:`fedmed_workflows.nvflare.job.encrypted_job.write_encrypted_job`.
        """
        from fedmed_workflows.nvflare.job.encrypted_job import write_encrypted_job

        network = network_of(self.federation)
        return str(write_encrypted_job(self.federation, network, f"{self.name}_encrypted", Path(job_dir).resolve()))

    def run(self) -> dict[str, Any]:
        """Runs the remaining rounds and writes the report here; returns the content of the report.

        Raises
        ------
        ValueError
            There is no start-up kit, or the run folder belongs to another run.
        FederationError
            Too few sites joined or contributed, or the job ended without a result.
        """
        return self.federation.run_with(self._run, "nvflare")

    def _run(self, federation: Federation, folder: RunFolder) -> Outcome:
        network = network_of(federation)
        with (
            tempfile.TemporaryDirectory() as temporary,
            RoundProgress(federation.rounds, len(federation.sites.folders)) as bar,
        ):
            job = write_job(federation, network, self.name, Path(temporary))
            with AdministratorSession(self.startup_kit) as server:
                result = run_until_result(server, job, Path(temporary), _result, bar.catch_up)
            shutil.copytree(result, folder.path / "checkpoints", dirs_exist_ok=True)
            keep_tracking(result.parent, folder.path)
            return read_outcome(result, result, network)


def _result(place: Path) -> Path | None:
    """Returns the folder with the outcome of a run; raises the failure of the run."""
    for failure in place.rglob(FAILURE):
        raise FederationError(json.loads(failure.read_text())["error"])
    return next((outcome.parent for outcome in place.rglob(OUTCOME)), None)
