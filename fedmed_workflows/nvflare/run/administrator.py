"""An administrator's side of NVFlare: a session that outlives the server's absences, a job followed to its result."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from nvflare.fuel.flare_api.api_spec import AuthorizationError, InvalidArgumentError, InvalidJobDefinition
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from fedmed_workflows.federation.rounds import FederationError
from fedmed_workflows.nvflare.server.controller import PROGRESS

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""How often the administrator's side asks for the job's state."""

AWAY_SECONDS = 600.0
"""How long the administrator's side waits for a server that does not answer."""

LOST_SECONDS = 10.0
"""How long a server that was restarted may say that a job runs while no process runs it. Such a server does not know
how its jobs ended. A server that was not restarted says so too, until every site has reported its end of the job."""

REFUSALS = (AuthorizationError, InvalidArgumentError, InvalidJobDefinition)
"""Answers of the server that asking again does not change."""

LOST = "lost with the server's process"

SUBMISSIONS = 5
"""How often a job that ended without a result is submitted, before its state is reported instead."""

Answer = TypeVar("Answer")
Result = TypeVar("Result")


class AdministratorSession:
    """A session with NVFlare's server, opened again whenever the server was away.

    Used as a context manager.

    Parameters
    ----------
    startup_kit
        The administrator's start-up kit, as NVFlare's provisioning made it.

    Raises
    ------
    ValueError
        There is no start-up kit.
    """

    def __init__(self, startup_kit: str | None) -> None:
        kit = Path(str(startup_kit)) / "startup" / "fed_admin.json"
        if startup_kit is None or not kit.is_file():
            raise ValueError(f"startup_kit {startup_kit}: expected an administrator's kit with startup/{kit.name}")
        self.user, self.startup_kit = str(json.loads(kit.read_text())["admin"]["username"]), startup_kit
        self.session: Session | None = None

    def __enter__(self) -> AdministratorSession:
        self.ask(lambda session: session.get_system_info(), patience=0)  # a wrong kit is told at once
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def ask(self, question: Callable[[Session], Answer], patience: float = AWAY_SECONDS) -> Answer:
        """Asks until there is an answer; the server's refusal, or the last error if there is no answer in time."""
        until = time.monotonic() + patience
        while True:
            try:
                if self.session is None:
                    self.session = new_secure_session(self.user, self.startup_kit)
                return question(self.session)
            except REFUSALS:
                raise
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


def completed(
    server: AdministratorSession,
    job: Path,
    place: Path,
    found: Callable[[Path], Result | None],
    progress: Callable[[list[dict[str, Any]]], None],
) -> Result:
    """Submits a job until it has a result, and returns that.

    Parameters
    ----------
    server
        Open.
    job
        The job's folder.
    place
        Where NVFlare's results are put.
    found
        The result in a folder of NVFlare's, or None if it holds none; it raises what the job's own failure is.
    progress
        Gets the history of a running federation, again and again.

    Raises
    ------
    FederationError
        Several jobs ended without a result.
    """
    state = ""
    for submission in range(1, SUBMISSIONS + 1):
        started = server.ask(_start_time)
        job_id = server.ask(lambda session: session.submit_job(str(job)))
        logger.info("submitted job %s (%d)", job_id, submission)
        state = _ended(server, job_id, started, progress)
        if state != LOST:
            result = found(Path(server.ask(lambda session: session.download_job_result(job_id, str(place)))))
            if result is not None:
                return result
        logger.warning("job %s ended as %s, without a result; submitting it again", job_id, state)
    raise FederationError(f"{SUBMISSIONS} jobs ended without a result, the last one as {state}")


def _ended(
    server: AdministratorSession, job_id: str, started: float, progress: Callable[[list[dict[str, Any]]], None]
) -> str:
    """Follows a job of the server that was started at a time to the job's end; returns the state in which it ended."""
    seen = time.monotonic()
    while True:
        status = str(server.ask(lambda session: session.get_job_status(job_id)))
        if status.startswith("FINISHED") or status == "ABANDONED":
            return status
        if status != "RUNNING" or server.ask(lambda session: _will_end(session, job_id, started)):
            seen = time.monotonic()
        if time.monotonic() - seen > LOST_SECONDS:
            return LOST
        try:
            progress(server.ask(lambda session: session.do_app_command(job_id, PROGRESS, {}), 0.0)["history"])
        except Exception as error:  # it has not begun, or has ended in between
            logger.debug("no progress: %s", error)
        time.sleep(POLL_SECONDS)


def _start_time(session: Session) -> float:
    """When the server's process was started."""
    return float(session.get_system_info().server_info.start_time)


def _will_end(session: Session, job_id: str, started: float) -> bool:
    """Whether a process of the server runs the job, or the server was not restarted and so reports its end."""
    jobs = session.get_system_info().job_info or ()
    return _start_time(session) == started or any(job.job_id == job_id for job in jobs)
