"""A federation across hospitals: a job is submitted with an administrator's start-up kit, and its result comes back."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from fedmed_workflows.engines.engine import Outcome
from fedmed_workflows.engines.nvflare_controller import FAILURE, OUTCOME, PROGRESS
from fedmed_workflows.engines.nvflare_job import network_of, write_job
from fedmed_workflows.engines.nvflare_simulator import read_outcome
from fedmed_workflows.engines.nvflare_tracking import keep_tracking
from fedmed_workflows.rounds import FederationError
from fedmed_workflows.rounds_shown import RoundsShown
from fedmed_workflows.run_folder import RunFolder

if TYPE_CHECKING:
    from fedmed_workflows.federation import Federation

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""How often the administrator's side asks for the job's state."""

AWAY_SECONDS = 600.0
"""How long the administrator's side waits for a server that does not answer."""

LOST_SECONDS = 10.0
"""How long a job may be said to run while no process runs it: a restarted server knows nothing of its jobs' end."""

LOST = "lost with the server's process"

SUBMISSIONS = 5
"""How often a job that ended without a result is submitted, before its state is reported instead."""

Answer = TypeVar("Answer")


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
            As :func:`fedmed_workflows.engines.nvflare_job.write_job`.
        """
        network = network_of(self.federation)
        return str(write_job(self.federation, network, self.name, Path(job_dir).resolve()))

    def export_encrypted(self, job_dir: str) -> str:
        """As :meth:`export`, of a job whose updates the server cannot read.

        Raises
        ------
        ValueError
            As :func:`fedmed_workflows.engines.nvflare_encrypted_job.write_encrypted_job`.
        """
        from fedmed_workflows.engines.nvflare_encrypted_job import write_encrypted_job

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
        user = self._user()
        network = network_of(federation)
        with (
            tempfile.TemporaryDirectory() as temporary,
            RoundsShown(federation.rounds, len(federation.sites.folders)) as shown,
        ):
            job = write_job(federation, network, self.name, Path(temporary))
            with _Server(user, str(self.startup_kit)) as server:
                result = _completed(server, job, Path(temporary), shown)
            shutil.copytree(result, folder.path / "checkpoints", dirs_exist_ok=True)
            keep_tracking(result.parent, folder.path)
            return read_outcome(result, result, network)

    def _user(self) -> str:
        kit = Path(str(self.startup_kit)) / "startup" / "fed_admin.json"
        if self.startup_kit is None or not kit.is_file():
            raise ValueError(f"startup_kit {self.startup_kit}: expected an administrator's kit with startup/{kit.name}")
        return str(json.loads(kit.read_text())["admin"]["username"])


class _Server:
    """An administrator's session that outlives the server's absences."""

    def __init__(self, user: str, startup_kit: str) -> None:
        self.user, self.startup_kit = user, startup_kit
        self.session: Session | None = None

    def __enter__(self) -> _Server:
        self.ask(lambda session: session.get_system_info(), patience=0)  # a wrong kit is told at once
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def ask(self, question: Callable[[Session], Answer], patience: float = AWAY_SECONDS) -> Answer:
        """Asks until there is an answer; the last error, if there is none in time."""
        until = time.monotonic() + patience
        while True:
            try:
                if self.session is None:
                    self.session = new_secure_session(self.user, self.startup_kit)
                return question(self.session)
            except Exception as error:
                self._close()
                if time.monotonic() > until:
                    raise
                logger.warning("NVFlare's server does not answer, asking again: %s", error)
                time.sleep(POLL_SECONDS)

    def _close(self) -> None:
        if self.session is not None:
            try:
                self.session.close()
            except Exception as error:  # it was broken before
                logger.debug("closing a session: %s", error)
        self.session = None


def _completed(server: _Server, job: Path, temporary: Path, shown: RoundsShown) -> Path:
    """Submits a job until it has a result of ours; the folder with the result."""
    state = ""
    for submission in range(1, SUBMISSIONS + 1):
        job_id = server.ask(lambda session: session.submit_job(str(job)))
        logger.info("submitted job %s (%d)", job_id, submission)
        state = _ended(server, job_id, shown)
        if state != LOST:
            place = Path(server.ask(lambda session: session.download_job_result(job_id, str(temporary))))
            for failure in place.rglob(FAILURE):
                raise FederationError(json.loads(failure.read_text())["error"])
            for outcome in place.rglob(OUTCOME):
                return outcome.parent
        logger.warning("job %s ended as %s, without a result; submitting it again", job_id, state)
    raise FederationError(f"{SUBMISSIONS} jobs ended without a result, the last one as {state}")


def _ended(server: _Server, job_id: str, shown: RoundsShown) -> str:
    """Follows a job to its end; the state it ended in."""
    seen = time.monotonic()
    while True:
        status = str(server.ask(lambda session: session.get_job_status(job_id)))
        if status.startswith("FINISHED") or status == "ABANDONED":
            return status
        if status != "RUNNING" or server.ask(lambda session: _runs(session, job_id)):
            seen = time.monotonic()
        if time.monotonic() - seen > LOST_SECONDS:
            return LOST
        try:
            shown.catch_up(server.ask(lambda session: session.do_app_command(job_id, PROGRESS, {}), 0.0)["history"])
        except Exception as error:  # it has not begun, or has ended in between
            logger.debug("no progress: %s", error)
        time.sleep(POLL_SECONDS)


def _runs(session: Session, job_id: str) -> bool:
    """Whether a process of the server runs the job."""
    return any(job.job_id == job_id for job in session.get_system_info().job_info or ())
