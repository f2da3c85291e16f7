"""Part of a site's own NVFlare configuration: a job's process that was killed is started again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobHandleSpec, JobReturnCode
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher


class RestartingLauncher(ClientProcessJobLauncher):  # type: ignore[misc]
    """Launches the processes of jobs at a site, and starts one again that a signal killed.

    NVFlare's own launcher reports such a death as a failure of the job, and the server then ends the job for all sites.
    The new process asks the server for the task that the old one left, and the site's kept state makes its answer the
    same.

    It stands in the site's ``local/resources.json`` in place of ``ClientProcessJobLauncher``.

    Parameters
    ----------
    restarts
        How often one job's process is started again, before its death is only told and the job goes on without it.
    """

    def __init__(self, restarts: int = 5) -> None:
        super().__init__()
        self.restarts = restarts

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> JobHandleSpec:
        """Starts a job's process."""
        launch = super().launch_job
        return _Restarted(lambda: launch(job_meta, fl_ctx), self.restarts, self.logger.warning)


class _Restarted(JobHandleSpec):  # type: ignore[misc]
    """The process of a job, or the one after it."""

    def __init__(self, start: Callable[[], Any], restarts: int, warn: Callable[[str], None]) -> None:
        super().__init__()
        self.start, self.restarts, self.warn = start, restarts, warn
        self.terminated = False
        self.process = start()

    def wait(self) -> None:
        """Waits for the end of the process, and of those started in its place."""
        self.process.wait()
        while self._killed() and not self.terminated and self.restarts > 0:
            self.restarts -= 1
            self.warn(f"the job's process was killed by signal {-self.process.adapter.poll()}; starting it again")
            self.process = self.start()
            self.process.wait()

    def poll(self) -> Any:
        """Its return code. Of a killed process: unknown, which does not end the job for the other sites."""
        return JobReturnCode.UNKNOWN if self._killed() and not self.terminated else self.process.poll()

    def terminate(self) -> None:
        """Ends the process for good."""
        self.terminated = True
        self.process.terminate()

    def _killed(self) -> bool:
        code = self.process.adapter.poll()
        return code is not None and code < 0
