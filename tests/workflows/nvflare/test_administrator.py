"""An administrator's session follows a job to its end, and submits a job again that a restarted server has lost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from fedmed_workflows.federation.rounds import FederationError
from fedmed_workflows.nvflare.run import administrator
from fedmed_workflows.nvflare.run.administrator import SUBMISSIONS, AdministratorSession, run_until_result


class Server:
    """Stands in for NVFlare's server: the first job's states one after another; it may be restarted meanwhile."""

    def __init__(self, states: Iterator[str], restarted_after: float = math.inf) -> None:
        self.states, self.restarted_after = states, restarted_after
        self.submitted, self.asked = 0, 0

    def ask(self, question: Callable[[Any], Any], patience: float = 0.0) -> Any:
        return question(self)

    def submit_job(self, job: str) -> str:
        self.submitted += 1
        return f"job {self.submitted}"

    def get_job_status(self, job_id: str) -> str:
        self.asked += 1
        return next(self.states) if job_id == "job 1" else "FINISHED:COMPLETED"

    def get_system_info(self) -> Any:
        """No process runs the job: it has ended, or was lost."""
        started = 2.0 if self.asked > self.restarted_after else 1.0
        return SimpleNamespace(server_info=SimpleNamespace(start_time=started), job_info=[])

    def do_app_command(self, job_id: str, topic: str, data: Any) -> dict[str, Any]:
        return {"history": []}

    def download_job_result(self, job_id: str, place: str) -> str:
        return f"{place}/{job_id}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administrator, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(administrator, "LOST_SECONDS", 0.1)
    monkeypatch.setattr(administrator, "CLOSE_SECONDS", 0.1)


def follow(server: Server) -> Path:
    session: Any = server
    return run_until_result(session, Path("job"), Path("results"), lambda place: place, lambda history: None)


def test_a_job_whose_sites_report_late_is_waited_for_and_not_submitted_again() -> None:
    server = Server(iter(["SUBMITTED", *["RUNNING"] * 50, "FINISHED:COMPLETED"]))
    assert follow(server) == Path("results/job 1") and server.submitted == 1


def test_a_job_that_a_restarted_server_has_lost_is_submitted_again() -> None:
    server = Server(itertools.repeat("RUNNING"), restarted_after=10)
    assert follow(server) == Path("results/job 2") and server.submitted == 2


def test_jobs_that_end_without_a_result_are_an_error() -> None:
    server: Any = Server(iter(["FINISHED:ABORTED"]))
    with pytest.raises(FederationError, match=f"{SUBMISSIONS} jobs ended without a result, the last one as FINISHED:"):
        run_until_result(server, Path("job"), Path("results"), lambda place: None, lambda history: None)
    assert server.submitted == SUBMISSIONS


class LateConnection:
    """Stands in for a session that closes once a connection is closed, which was opened meanwhile."""

    def __init__(self) -> None:
        self.closed = Event()
        connector: Any = SimpleNamespace(driver=SimpleNamespace(close_all=self.closed.set))
        manager = SimpleNamespace(connectors={"server": connector})
        core = SimpleNamespace(communicator=SimpleNamespace(conn_manager=manager))
        self.api = SimpleNamespace(cell=SimpleNamespace(core_cell=core))

    def close(self) -> None:
        self.closed.wait()


def test_a_connection_that_is_opened_while_a_session_closes_is_closed_too(tmp_path: Path) -> None:
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup" / "fed_admin.json").write_text('{"admin": {"username": "admin"}}')
    session, late = AdministratorSession(str(tmp_path)), LateConnection()
    session.session = late  # type: ignore[assignment]
    session.__exit__()
    assert late.closed.is_set() and session.session is None
