"""A component of a site's own NVFlare configuration that restarts the process of a job after it was killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_launcher_spec import JobHandleSpec, JobReturnCode
from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher


class RestartingLauncher(ClientProcessJobLauncher):  # type: ignore[misc]
    """Launches the processes of jobs at a site, and restarts a process that a signal killed.

    NVFlare's own launcher reports a killed process as a failure of the job, and the server then ends the job for all
    sites. With this launcher, the new process requests the unfinished task of the old process. The site's saved state
    makes the answer the same.

    List the component in the site's ``local/resources.json`` instead of ``ClientProcessJobLauncher``.

    Parameters
    ----------
    restarts
        Maximum number of restarts of a job's process. After that the job continues without the site.
    """

    def __init__(self, restarts: int = 5) -> None:
        super().__init__()
        self.restarts = restarts

    def launch_job(self, job_meta: dict[str, Any], fl_ctx: FLContext) -> JobHandleSpec:
        """Starts the process of a job."""
        launch = super().launch_job
        return _RestartedProcess(lambda: launch(job_meta, fl_ctx), self.restarts, self.logger.warning)


class _RestartedProcess(JobHandleSpec):  # type: ignore[misc]
    """The current process of a job, after its restarts."""

    def __init__(self, start: Callable[[], Any], restarts: int, warn: Callable[[str], None]) -> None:
        super().__init__()
        self.start, self.restarts, self.warn = start, restarts, warn
        self.terminated = False
        self.process = start()

    def wait(self) -> None:
        """Waits for the end of the process and of all its restarts."""
        self.process.wait()
        while self._killed() and not self.terminated and self.restarts > 0:
            self.restarts -= 1
            self.warn(f"the job's process was killed by signal {-self.process.adapter.poll()}; starting it again")
            self.process = self.start()
            self.process.wait()

    def poll(self) -> Any:
        """Returns the return code; for a killed process unknown, which does not end the job for the other sites."""
        return JobReturnCode.UNKNOWN if self._killed() and not self.terminated else self.process.poll()

    def terminate(self) -> None:
        """Ends the process for good."""
        self.terminated = True
        self.process.terminate()

    def _killed(self) -> bool:
        code = self.process.adapter.poll()
        return code is not None and code < 0
