"""The engine that runs a federation in NVFlare's simulator: server and sites are processes of this machine."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from fedmed_workflows.federation.engine import Outcome
from fedmed_workflows.federation.progress import RoundProgress
from fedmed_workflows.federation.rounds import FederationError
from fedmed_workflows.federation.run_folder import RunFolder
from fedmed_workflows.nvflare.job.federation_job import network_of, write_job
from fedmed_workflows.nvflare.run.simulated_job import SERVER_RUN, simulate
from fedmed_workflows.nvflare.server.controller import FAILURE, OUTCOME, SERVER_LOCK, FederationController
from fedmed_workflows.nvflare.server.tracking import keep_tracking, receivers
from fedmed_workflows.nvflare.site.executor import SiteExecutor

if TYPE_CHECKING:
    from fedmed_workflows.federation.bundle.network import BundleNetwork
    from fedmed_workflows.federation.federation import Federation

PLACE = "nvflare"
"""Folder of NVFlare's own files in the run folder: logs and the job."""

CLASSES = (FederationController, SiteExecutor)
"""Classes of this package that a job names."""

POLL_SECONDS = 0.5
"""Seconds between two updates of the progress bar."""


def run_in_simulator(federation: Federation, folder: RunFolder) -> Outcome:
    """Runs the rounds of a federation in NVFlare's simulator, each site in its own process.

    Server and sites share the run folder, so that one engine can resume the run of another engine.

    Raises
    ------
    FederationError
        Too few sites joined, or contributed to a round.
    RuntimeError
        The simulator ended without a result. The message has the path and the end of its log.
    """
    with RunFolder(folder.path, federation.identity(), SERVER_LOCK):  # refused while a server still uses the folder
        network = network_of(federation)
    place = federation.output_dir.resolve() / PLACE
    job = write_job(federation, network, federation.output_dir.resolve().name, place / "job")
    for name in (OUTCOME, FAILURE):
        (folder.path / name).unlink(missing_ok=True)
    named = [type(receiver) for receiver in receivers(federation.track_with, "").values()]
    named += [resolve_name(entry["path"]) for entry in federation.filters or ()]
    ended = simulate(federation, job, place, (*CLASSES, *named), lambda process: _watch(process, federation, folder))
    keep_tracking(place / SERVER_RUN, folder.path)
    failure = folder.path / FAILURE
    if failure.is_file():
        raise FederationError(f"{json.loads(failure.read_text())['error']}; the sites' log: {place / 'simulator.log'}")
    if not (folder.path / OUTCOME).is_file():
        raise RuntimeError(f"no result: {ended}")
    return read_outcome(folder.path, folder.path / "checkpoints", network)


def read_outcome(folder: Path, checkpoints: Path, network: BundleNetwork) -> Outcome:
    """Reads the outcome that a server wrote of a run.

    Parameters
    ----------
    folder
        Folder with the server's ``outcome.json``.
    checkpoints
        Folder with ``last.json`` and the last aggregate.
    network
        The network that the sites built.
    """
    outcome: dict[str, Any] = json.loads((folder / OUTCOME).read_text())
    weights = load_file(checkpoints / json.loads((checkpoints / "last.json").read_text())["file"])
    network.manifest.check(weights, "the server's last aggregate")
    return Outcome(network.manifest, weights, trained=network, **outcome)


def _watch(process: subprocess.Popen[bytes], federation: Federation, folder: RunFolder) -> None:
    """Shows the rounds as the server commits them, until the simulator ends."""
    with RoundProgress(federation.rounds, len(federation.sites.folders), folder.rounds_done) as bar:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            bar.catch_up(folder.history)
