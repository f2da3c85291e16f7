"""The administrator's part of NVFlare: a session that reconnects to the server, and a job followed to its result."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from nvflare.fuel.flare_api.api_spec import AuthorizationError, InvalidArgumentError, InvalidJobDefinition
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from fedmed_workflows.federation.rounds import FederationError
from fedmed_workflows.nvflare.server.controller import PROGRESS

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""Seconds between two requests for the state of a job."""

AWAY_SECONDS = 600.0
"""Seconds to wait for a server that does not answer."""

CLOSE_SECONDS = 30.0
"""How long NVFlare may take to close a session, before the connections that are still open are closed."""

CLOSE_ATTEMPTS = 10
"""How often open connections are closed, before the thread that closes the session is left to itself."""

LOST_SECONDS = 10.0
"""Seconds in which a restarted server may report a job as running although no process runs the job. Such a server does
not know how its jobs ended. A server that was not restarted reports the same until every site has reported its end."""

REFUSALS = (AuthorizationError, InvalidArgumentError, InvalidJobDefinition)
"""Errors of the server that a repeated request does not change."""

LOST = "lost with the server's process"
"""State of a job whose server process ended."""

SUBMISSIONS = 5
"""Maximum number of submissions of a job that ends without a result."""

Answer = TypeVar("Answer")
Result = TypeVar("Result")


class AdministratorSession:
    """A session with NVFlare's server, which reconnects after an absence of the server.

    Use the object as a context manager.

    Parameters
    ----------
    startup_kit
        Folder of the administrator's start-up kit from NVFlare's provisioning.

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
        self.ask(lambda session: session.get_system_info(), patience=0)  # reports a wrong kit immediately
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def ask(self, question: Callable[[Session], Answer], patience: float = AWAY_SECONDS) -> Answer:
        """Sends a request until the server answers; raises a refusal, or the last error after `patience` seconds."""
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
            closing = Thread(target=_close_session, args=(self.session,), daemon=True)
            closing.start()
            closing.join(CLOSE_SECONDS)
            for _ in range(CLOSE_ATTEMPTS):
                if not closing.is_alive():
                    break
                _close_connections(self.session)
                closing.join(POLL_SECONDS)
        self.session = None


def _close_session(session: Session) -> None:
    try:
        session.close()
    except Exception as error:  # the session was broken before
        logger.debug("closing a session: %s", error)


def _close_connections(session: Session) -> None:
    """Closes the connections that NVFlare opened while it closed the session: it would wait for their end forever."""
    if session.api.cell is not None:
        for connector in list(session.api.cell.core_cell.communicator.conn_manager.connectors.values()):
            connector.driver.close_all()


def run_until_result(
    server: AdministratorSession,
    job: Path,
    place: Path,
    read_result: Callable[[Path], Result | None],
    progress: Callable[[list[dict[str, Any]]], None],
) -> Result:
    """Submits a job until it has a result; returns the result.

    Parameters
    ----------
    server
        The open session.
    job
        Folder of the job.
    place
        Folder for NVFlare's results.
    read_result
        Reads the result from a folder of NVFlare; returns None if there is none, and raises the failure of the job.
    progress
        Called repeatedly with the history of the running federation.

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
        state = _wait_for_end(server, job_id, started, progress)
        if state != LOST:
            result = read_result(Path(server.ask(lambda session: session.download_job_result(job_id, str(place)))))
            if result is not None:
                return result
        logger.warning("job %s ended as %s, without a result; submitting it again", job_id, state)
    raise FederationError(f"{SUBMISSIONS} jobs ended without a result, the last one as {state}")


def _wait_for_end(
    server: AdministratorSession, job_id: str, started: float, progress: Callable[[list[dict[str, Any]]], None]
) -> str:
    """Follows a job to its end; returns its final state. `started` is the time when the server's process started."""
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
        except Exception as error:  # the job has not started, or has ended
            logger.debug("no progress: %s", error)
        time.sleep(POLL_SECONDS)


def _start_time(session: Session) -> float:
    """Returns the time when the server's process started."""
    return float(session.get_system_info().server_info.start_time)


def _will_end(session: Session, job_id: str, started: float) -> bool:
    """Returns whether a process of the server runs the job, or the server was not restarted and will report its end."""
    jobs = session.get_system_info().job_info or ()
    return _start_time(session) == started or any(job.job_id == job_id for job in jobs)
