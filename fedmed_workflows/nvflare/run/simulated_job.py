"""Runs a job in NVFlare's simulator: server and sites are processes of this machine, with the policy of real sites."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nvflare.app_common.logging.constants import ALLOW_LOG_STREAMING_VAR
from nvflare.app_common.widgets.component_path_authorizer import CLASS_ALLOW_LIST

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.nvflare.job.public_names import public_name
from fedmed_workflows.nvflare.site.environment import BUNDLES, DATA, DEVICE, RELEASE, STATE, WEIGHTS

if TYPE_CHECKING:
    from fedmed_workflows.federation.federation import Federation

SERVER_RUN = "workspace/server/simulate_job"
"""The server's folder of a simulated job, relative to the folder of the simulation."""

LOG_LINES = 30
"""Number of lines of the log in an error message."""


def simulate(
    federation: Federation,
    job: Path,
    place: Path,
    classes: Iterable[type],
    watch: Callable[[subprocess.Popen[bytes]], None],
    variables: Mapping[str, str] | None = None,
) -> str:
    """Runs a job to its end.

    Parameters
    ----------
    federation
        The federation whose sites take part. Their images are here.
    job
        Folder of the job.
    place
        Folder for ``simulator.log`` and NVFlare's ``workspace``.
    classes
        Classes that the job may name. The policy of server and sites allows only these classes.
    watch
        Called with the simulator's process; returns when the process has ended. An error ends the simulator.
    variables
        Additional environment variables of the sites.

    Returns
    -------
    str
        Text for an error message: exit status, path of the log and its last lines.
    """
    _write_policy(place / "workspace", classes)
    log = place / "simulator.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            _command(job, place / "workspace", list(federation.sites.paths)),
            env={**_environment(federation), **(variables or {})}, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            watch(process)
        finally:
            _end(process)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return f"NVFlare's simulator ended ({process.returncode}); {log} ends:\n{last}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the simulator with its server and sites, which continue to run if the simulator was killed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _command(job: Path, workspace: Path, sites: Sequence[str]) -> list[str]:
    simulator = [sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator"]
    return [*simulator, str(job), "-w", str(workspace), "-c", ",".join(sites), "-t", str(len(sites))]


def _write_policy(workspace: Path, classes: Iterable[type]) -> None:
    """Writes the policy of a real site, which allows only the given classes."""
    allowed = [public_name(cls) for cls in classes]
    policy = {"format_version": 2, CLASS_ALLOW_LIST: allowed, ALLOW_LOG_STREAMING_VAR: False}
    write_whole(workspace / "local" / "resources.json", json.dumps(policy, indent=2))


def _environment(federation: Federation) -> dict[str, str]:
    """Returns the environment variables of the simulated sites, as at a real site."""
    root = Path(federation.bundle_root).resolve()
    weights = federation.settings.get("weights")
    first = next(iter(federation.sites.paths.values())).absolute()  # the folder of a site may be a link
    return {
        **os.environ,
        BUNDLES: str(root.parent),
        DATA: str(first.parent),
        STATE: str(federation.output_dir.resolve().parent),
        DEVICE: str(federation.device),
        RELEASE: "yes",
        **({WEIGHTS: _absolute(str(weights))} if weights is not None else {}),
    }


def _absolute(weights: str) -> str:
    """Returns the absolute path of a weights file, as simulated sites have other working folders; else the name."""
    return str(Path(weights).resolve()) if Path(weights).is_file() else weights
