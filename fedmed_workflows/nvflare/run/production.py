"""A federation across hospitals: a job is submitted with an administrator's start-up kit, and its result comes back."""

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
from fedmed_workflows.nvflare.run.administrator import AdministratorSession, completed
from fedmed_workflows.nvflare.run.simulator import read_outcome
from fedmed_workflows.nvflare.server.controller import FAILURE, OUTCOME
from fedmed_workflows.nvflare.server.tracking import keep_tracking

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation


class Production:
    """A federation whose server and sites run elsewhere.

    A job that NVFlare ended without a result of ours, because its server was restarted or a site's process died, is
    submitted again and goes on after the last whole round, which the server keeps.

    Parameters
    ----------
    federation
        With the names of the sites; its images need not be here.
    startup_kit
        The administrator's start-up kit, as NVFlare's provisioning made it; not needed for :meth:`export`.
    """

    def __init__(self, federation: Federation, startup_kit: str | None = None) -> None:
        self.federation, self.startup_kit = federation, startup_kit

    @property
    def name(self) -> str:
        """Of the job, and of the run's folder at the server and the sites: the same for the same run, no other's."""
        identity = json.dumps(self.federation.identity(), sort_keys=True)
        bundle = Path(self.federation.bundle_root).resolve().name
        return f"{bundle}_{hashlib.sha256(identity.encode()).hexdigest()[:12]}"

    def export(self, job_dir: str) -> str:
        """Writes the job's folder, for ``nvflare job submit``; returns its path.

        Raises
        ------
        ValueError
            As :func:`fedmed_workflows.nvflare.job.federation_job.write_job`.
        """
        network = network_of(self.federation)
        return str(write_job(self.federation, network, self.name, Path(job_dir).resolve()))

    def export_encrypted(self, job_dir: str) -> str:
        """As :meth:`export`, of a job whose updates the server cannot read.

        Raises
        ------
        ValueError
            As :func:`fedmed_workflows.nvflare.job.encrypted_job.write_encrypted_job`.
        """
        from fedmed_workflows.nvflare.job.encrypted_job import write_encrypted_job

        network = network_of(self.federation)
        return str(write_encrypted_job(self.federation, network, f"{self.name}_encrypted", Path(job_dir).resolve()))

    def run(self) -> dict[str, Any]:
        """Runs the rounds that are left and writes the report here; returns what it says.

        Raises
        ------
        ValueError
            There is no start-up kit, or the run's folder is another run's.
        FederationError
            Too few sites joined or contributed, or the job ended without a result.
        """
        return self.federation.run_with(self._run, "nvflare")

    def _run(self, federation: Federation, folder: RunFolder) -> Outcome:
        network = network_of(federation)
        with (
            tempfile.TemporaryDirectory() as temporary,
            RoundProgress(federation.rounds, len(federation.sites.folders)) as shown,
        ):
            job = write_job(federation, network, self.name, Path(temporary))
            with AdministratorSession(self.startup_kit) as server:
                result = completed(server, job, Path(temporary), _result, shown.catch_up)
            shutil.copytree(result, folder.path / "checkpoints", dirs_exist_ok=True)
            keep_tracking(result.parent, folder.path)
            return read_outcome(result, result, network)


def _result(place: Path) -> Path | None:
    """The folder in which the server left what came of a run."""
    for failure in place.rglob(FAILURE):
        raise FederationError(json.loads(failure.read_text())["error"])
    return next((outcome.parent for outcome in place.rglob(OUTCOME)), None)
