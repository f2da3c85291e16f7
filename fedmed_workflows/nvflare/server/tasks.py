"""Sends tasks to sites on NVFlare and yields their answers one by one, or the reason for a missing answer."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nvflare.apis.controller_spec import ClientTask, Task, TaskCompletionStatus
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from fedmed_workflows.errors import SiteError
from fedmed_workflows.nvflare.wire.files import fetch_file, serve_file
from fedmed_workflows.nvflare.wire.messages import message

POLL_SECONDS = 0.2
"""Seconds that the server waits for an answer before it checks whether the job was aborted."""

SYNC_SECONDS = 2.0
"""Seconds between two updates of the job's list of registered sites from the server."""


class AbortedError(RuntimeError):
    """The job was aborted."""


class SiteTasks:
    """Sends the tasks of one job.

    Parameters
    ----------
    controller
        NVFlare's controller of the job.
    fl_ctx, abort_signal
        Context and signal that NVFlare passes to the controller.
    """

    def __init__(self, controller: Controller, fl_ctx: FLContext, abort_signal: Signal) -> None:
        self.controller, self.fl_ctx, self.abort_signal = controller, fl_ctx, abort_signal
        self._synced = time.monotonic()

    def ask(
        self,
        name: str,
        values: Mapping[str, Any],
        sites: Sequence[str],
        seconds: float | None = None,
        file: Path | None = None,
    ) -> Iterator[tuple[str, Shareable | SiteError]]:
        """Sends a task; yields each site's answer when it comes, and at the end an error for each missing answer.

        Parameters
        ----------
        name, values
            Name and values of the task.
        sites
            Names of the sites that get the task.
        seconds
            Time limit; with None the task ends when the connections of all missing sites are lost.
        file
            File that each site fetches with the task, or None.

        Raises
        ------
        AbortedError
            The job was aborted during the task.
        """
        known = {client.name for client in self.fl_ctx.get_engine().get_clients()}
        for site in sorted(set(sites) - known):
            yield site, SiteError(f"site {site!r}: is not connected")
        connected = sorted(set(sites) & known)
        if connected:
            with serve_file(self.fl_ctx.get_engine().get_cell(), file, to_many=True) as source:
                yield from self._ask(name, message(**values, **source), connected, seconds)

    def _ask(
        self, name: str, data: Shareable, sites: Sequence[str], seconds: float | None
    ) -> Iterator[tuple[str, Shareable | SiteError]]:
        answers: queue.SimpleQueue[tuple[str, Shareable]] = queue.SimpleQueue()
        task = self._task(name, data, seconds, lambda site, answer: answers.put((site, answer)))
        self.controller.broadcast(task, self.fl_ctx, targets=list(sites), min_responses=len(sites))
        missing = set(sites)
        while missing:
            try:
                site, answer = answers.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._sync()
                if self.abort_signal.triggered:
                    raise AbortedError(f"the job was aborted during task {name!r}") from None
                if task.completion_status is not None and answers.empty():
                    break
                continue
            missing.discard(site)
            yield site, answer
        for site in sorted(missing):
            yield site, SiteError(f"site {site!r}: {_reason(task, seconds)}")

    def stand(
        self, name: str, values: Mapping[str, Any], site: str, answered: Callable[[str, Shareable], None]
    ) -> None:
        """Leaves a task for a missing site, which answers it after its return. The method does not wait."""
        task = self._task(name, message(**values), None, answered)
        self.controller.broadcast(task, self.fl_ctx, targets=[site], min_responses=1)

    def fetch(self, source: Mapping[str, str], folder: Path) -> Path:
        """Fetches the file that a site offers with its answer.

        Raises
        ------
        SiteError
            The connection was lost for too long.
        """
        return fetch_file(self.fl_ctx.get_engine().get_cell(), source, folder, self.abort_signal)

    def _sync(self) -> None:
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._synced = time.monotonic()
            self.fl_ctx.get_engine().sync_clients_from_main_process()

    def _task(
        self, name: str, data: Shareable, seconds: float | None, answered: Callable[[str, Shareable], None]
    ) -> Task:
        def received(client_task: ClientTask, fl_ctx: FLContext) -> None:
            answer, client_task.result = client_task.result, None
            answered(client_task.client.name, answer)

        return Task(name, data, timeout=math.ceil(seconds or 0), result_received_cb=received)


def _reason(task: Task, seconds: float | None) -> str:
    if task.completion_status == TaskCompletionStatus.TIMEOUT:
        return f"no answer within {seconds:g} seconds"
    if task.completion_status == TaskCompletionStatus.CLIENT_DEAD:
        return "its connection was lost"
    return f"no answer, the task ended as {task.completion_status}"
