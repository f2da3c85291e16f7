"""A job in NVFlare's simulator: server and sites as processes of this machine, with the policy of real sites."""

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
"""Where the server's folder of a simulated job lies, in the job's place."""

LOG_LINES = 30


def simulate(
    federation: Federation,
    job: Path,
    place: Path,
    classes: Iterable[type],
    watch: Callable[[subprocess.Popen[bytes]], None],
    own: Mapping[str, str] | None = None,
) -> str:
    """Runs a job to its end.

    Parameters
    ----------
    federation
        Whose sites take part, with their images where they lie here.
    job
        The job's folder.
    place
        Gets ``simulator.log`` and NVFlare's ``workspace``.
    classes
        What the job may name: the policy of server and sites allows these classes and no other.
    watch
        Gets the simulator's process and returns when it has ended; if it raises, the simulator is ended.
    own
        Further variables of the sites' environment.

    Returns
    -------
    str
        How it ended, for a message: the exit status, the log's file and the log's last lines.
    """
    _write_policy(place / "workspace", classes)
    log = place / "simulator.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            _command(job, place / "workspace", list(federation.sites.paths)),
            env={**_environment(federation), **(own or {})}, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            watch(process)
        finally:
            _end(process)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return f"NVFlare's simulator ended ({process.returncode}); {log} ends:\n{last}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the simulator with its server and sites, which outlive it where it was killed itself."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _command(job: Path, workspace: Path, sites: Sequence[str]) -> list[str]:
    simulator = [sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator"]
    return [*simulator, str(job), "-w", str(workspace), "-c", ",".join(sites), "-t", str(len(sites))]


def _write_policy(workspace: Path, classes: Iterable[type]) -> None:
    """The policy that a real site has: the classes that a job may name, and no other."""
    allowed = [public_name(cls) for cls in classes]
    policy = {"format_version": 2, CLASS_ALLOW_LIST: allowed, ALLOW_LOG_STREAMING_VAR: False}
    write_whole(workspace / "local" / "resources.json", json.dumps(policy, indent=2))


def _environment(federation: Federation) -> dict[str, str]:
    """The environment of the simulated sites, as each site's own people would set it."""
    root = Path(federation.bundle_root).resolve()
    weights = federation.settings.get("weights")
    first = next(iter(federation.sites.paths.values())).absolute()  # a site's folder may be a link to elsewhere
    return {
        **os.environ,
        BUNDLES: str(root.parent),
        DATA: str(first.parent),
        STATE: str(federation.output_dir.resolve().parent),
        DEVICE: str(federation.device),
        RELEASE: "yes",
        **({WEIGHTS: _found(str(weights))} if weights is not None else {}),
    }


def _found(weights: str) -> str:
    """A file's whole path, as the simulated sites work in folders of their own; the name of other weights as it is."""
    return str(Path(weights).resolve()) if Path(weights).is_file() else weights
