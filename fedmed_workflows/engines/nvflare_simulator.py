"""A federation in NVFlare's simulator: server and sites are processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nvflare.app_common.logging.constants import ALLOW_LOG_STREAMING_VAR
from nvflare.app_common.widgets.component_path_authorizer import CLASS_ALLOW_LIST
from safetensors.torch import load_file

from fedmed_workflows.engines.engine import Outcome
from fedmed_workflows.engines.nvflare_controller import FAILURE, OUTCOME, FederationController
from fedmed_workflows.engines.nvflare_executor import SiteExecutor
from fedmed_workflows.engines.nvflare_job import network_of, write_job
from fedmed_workflows.rounds import FederationError
from fedmed_workflows.rounds_shown import RoundsShown
from fedmed_workflows.run_folder import RunFolder, write_whole
from fedmed_workflows.site_environment import BUNDLES, DATA, DEVICE, RELEASE, STATE, WEIGHTS

if TYPE_CHECKING:
    from fedmed_workflows.bundle_network import BundleNetwork
    from fedmed_workflows.federation import Federation

PLACE = "nvflare"
"""Where NVFlare's own files of the run lie, in the run's folder: logs, and the job as it was run."""

POLL_SECONDS = 0.5
LOG_LINES = 30


def run_in_simulator(federation: Federation, folder: RunFolder) -> Outcome:
    """Runs a federation's rounds in NVFlare's simulator, each site in a process of its own.

    The run's folder is the server's and the sites': a run may be begun by one engine and taken up by another.

    Raises
    ------
    FederationError
        Too few sites joined, or contributed to a round.
    RuntimeError
        The simulator ended otherwise; the message holds the end of its log and the log's file.
    """
    network = network_of(federation)
    place = federation.output_dir.resolve() / PLACE
    job = write_job(federation, network, federation.output_dir.resolve().name, place / "job")
    _write_policy(place / "workspace", [entry["path"] for entry in federation.filters or ()])
    for name in (OUTCOME, FAILURE):
        (folder.path / name).unlink(missing_ok=True)
    _simulate(federation, folder, job, place)
    return read_outcome(folder.path, folder.path / "checkpoints", network)


def read_outcome(folder: Path, checkpoints: Path, network: BundleNetwork) -> Outcome:
    """What a server left of a run.

    Parameters
    ----------
    folder
        With the server's ``outcome.json``.
    checkpoints
        With ``last.json`` and the last aggregate.
    network
        That the sites built.
    """
    outcome: dict[str, Any] = json.loads((folder / OUTCOME).read_text())
    weights = load_file(checkpoints / json.loads((checkpoints / "last.json").read_text())["file"])
    network.manifest.check(weights, "the server's last aggregate")
    return Outcome(network.manifest, weights, trained=network, **outcome)


def _write_policy(workspace: Path, filters: list[str]) -> None:
    """The policy that a real site has: the classes of this package and the filters that a job may name, no other."""
    allowed = [f"{cls.__module__}.{cls.__name__}" for cls in (FederationController, SiteExecutor)] + filters
    policy = {"format_version": 2, CLASS_ALLOW_LIST: allowed, ALLOW_LOG_STREAMING_VAR: False}
    write_whole(workspace / "local" / "resources.json", json.dumps(policy, indent=2))


def _environment(federation: Federation) -> dict[str, str]:
    """The environment of the simulated sites, as each site's own people would set it."""
    root = Path(federation.bundle_root).resolve()
    weights = federation.settings.get("weights")
    first = next(iter(federation.sites.folders.values())).resolve()
    return {
        **os.environ,
        BUNDLES: str(root.parent),
        DATA: str(first.parent),
        STATE: str(federation.output_dir.resolve().parent),
        DEVICE: str(federation.device),
        RELEASE: "yes",
        **({WEIGHTS: str(weights)} if weights is not None else {}),
    }


def _simulate(federation: Federation, folder: RunFolder, job: Path, place: Path) -> None:
    sites = [*federation.sites.folders, *([federation.sites.unseen[0]] if federation.sites.unseen else [])]
    log, workspace = place / "simulator.log", str(place / "workspace")
    command = [sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator", str(job), "-w", workspace]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "-c", ",".join(sites), "-t", str(len(sites))], env=_environment(federation), stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            _watch(process, federation, folder)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    failure = folder.path / FAILURE
    if failure.is_file():
        raise FederationError(json.loads(failure.read_text())["error"])
    if not (folder.path / OUTCOME).is_file():
        last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        raise RuntimeError(f"NVFlare's simulator ended ({process.returncode}) without a result; {log} ends:\n{last}")


def _watch(process: subprocess.Popen[bytes], federation: Federation, folder: RunFolder) -> None:
    """Shows the rounds as the server commits them, until the simulator ends."""
    with RoundsShown(federation.rounds, len(federation.sites.folders), folder.rounds_done) as shown:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            shown.catch_up(folder.history)
