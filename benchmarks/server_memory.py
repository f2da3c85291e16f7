"""Peak memory of NVFlare's server that aggregates large updates, beside the size of one update.

    python benchmarks/server_memory.py [--answers 3,10,30] [--megabytes 372.7] [--aggregation FedAdam]

The server is the real one, with the rounds and the aggregation of every federation; the sites answer at once with what
they received, so that many of them fit one machine; each keeps one aggregate on the disk. What the server needs for an
update of 1 MB is subtracted. One round, of which each site receives two aggregates and sends one update. The default
size is that of FedSAM with vit_b. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.logging.constants import ALLOW_LOG_STREAMING_VAR
from nvflare.app_common.widgets.component_path_authorizer import CLASS_ALLOW_LIST
from nvflare.job_config.fed_app_config import ClientAppConfig, FedAppConfig, ServerAppConfig
from nvflare.job_config.fed_job_config import FedJobConfig
from safetensors.torch import save_file

from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import weights_digest
from fedmed_workflows.nvflare.job.folder import PACKAGES
from fedmed_workflows.nvflare.server.controller import INITIAL, JOB, OUTCOME, FederationController
from fedmed_workflows.nvflare.wire.files import SOURCE, fetch_file, serve_file
from fedmed_workflows.nvflare.wire.messages import (
    OPEN,
    SAMPLES,
    SCORE,
    TRAIN,
    message,
    message_values,
    register_tensors,
)

FEDSAM_MB = 372.7
TENSOR_MB = 9.4375  # the largest tensors of vit_b: 3072 x 768 in float32
SAMPLE_SECONDS = 0.05


class Echo(Executor):  # type: ignore[misc]
    """A site that answers with what it received."""

    def __init__(self) -> None:
        super().__init__()
        register_tensors()
        self.held: Any = None

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answers a task of a federation."""
        task = message_values(shareable, "server")
        if SOURCE in task:
            folder = Path(os.environ["ECHO_FOLDER"]) / fl_ctx.get_identity_name()
            shutil.rmtree(folder, ignore_errors=True)  # the disk holds one aggregate a site
            self.held = fetch_file(fl_ctx.get_engine().get_cell(), task[SOURCE], folder, abort_signal)
        if task_name == OPEN:
            facts = json.loads(os.environ["ECHO_FACTS"])
            return message(**facts, samples=1, data="", notes=[], versions={})
        if task_name == TRAIN:
            if self.held is None:
                return message(needs_weights=True)
            self.offer = serve_file(fl_ctx.get_engine().get_cell(), self.held)
            return message(**self.offer.__enter__(), metrics={"loss": 0.0}, **{SAMPLES: 1})
        return message(score="{}") if task_name == SCORE else message(metrics={})


def write_job(folder: Path, sites: int, megabytes: float, aggregation: str) -> tuple[Path, dict[str, Any]]:
    """A job with an update of a size; its folder, and what its sites say when they join."""
    count = max(1, round(megabytes / TENSOR_MB))
    each = int(megabytes * 1e6 / count / 4)
    initial = {f"layer.{index}.weight": torch.rand(each) for index in range(count)}
    manifest = Manifest({name: ([each], "float32") for name in initial}, "frozen")
    names = [f"site_{index:02d}" for index in range(sites)]
    config = folder / "server"
    config.mkdir(parents=True)
    save_file(initial, config / INITIAL)
    part = {
        "folder": "run", "identity": {}, "sites": names, "unseen": None, "rounds": 1, "min_sites": sites,
        "round_seconds": None, "privacy": None, "filtered": False, "manifest": manifest.to_json(),
        "aggregation": {"name": f"fedmed_workflows.aggregation.{aggregation}", "arguments": {}},
    }  # fmt: skip
    (config / JOB).write_text(json.dumps(part))
    server, site = ServerAppConfig(), ClientAppConfig()
    server.add_workflow("federation", FederationController())
    server.add_file_source(str(config), app_folder_type="config")
    site.add_executor(["*"], Echo())
    job = FedJobConfig("memory", min_clients=sites)
    job.set_app_packages([*PACKAGES, Echo.__module__])
    job.add_fed_app("server", FedAppConfig(server_app=server))
    job.add_fed_app("site", FedAppConfig(client_app=site))
    for name, app in [("server", "server"), *((name, "site") for name in names)]:
        job.set_site_app(name, app)
    job.generate_job_config(str(folder))
    return folder / "memory", {"manifest": manifest.to_json(), "initial": weights_digest(initial)}


def server_bytes(simulator: psutil.Process) -> int:
    """Resident memory of the simulator's server, the process beneath it that is no site."""
    found = 0
    for each in simulator.children(recursive=True):
        try:
            if "simulator_worker" not in " ".join(each.cmdline()):
                found = max(found, each.memory_info().rss)
        except psutil.Error:
            continue
    return found


def peak(sites: int, megabytes: float, aggregation: str) -> tuple[float, float]:
    """Peak resident megabytes of the server, and the seconds of the whole job."""
    with tempfile.TemporaryDirectory() as folder:
        job, facts = write_job(Path(folder) / "job", sites, megabytes, aggregation)
        workspace = Path(folder) / "workspace"
        (workspace / "local").mkdir(parents=True)
        allowed = [f"{FederationController.__module__}.FederationController", f"{Echo.__module__}.Echo"]
        policy = {"format_version": 2, CLASS_ALLOW_LIST: allowed, ALLOW_LOG_STREAMING_VAR: False}
        (workspace / "local" / "resources.json").write_text(json.dumps(policy))
        names = ",".join(f"site_{index:02d}" for index in range(sites))
        command = [sys.executable, "-m", "nvflare.private.fed.app.simulator.simulator", str(job), "-w", str(workspace)]
        environment = {
            **os.environ, "FEDMED_STATE_DIR": folder, "ECHO_FACTS": json.dumps(facts), "ECHO_FOLDER": folder,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}",
        }  # fmt: skip
        started, found = time.monotonic(), 0
        with (Path(folder) / "log").open("w") as log, subprocess.Popen(
            [*command, "-c", names, "-t", str(sites)], env=environment, stdout=log, stderr=log
        ) as process:
            while process.poll() is None:
                found = max(found, server_bytes(psutil.Process(process.pid)))
                time.sleep(SAMPLE_SECONDS)
        if not (Path(folder) / "run" / OUTCOME).is_file():
            raise RuntimeError((Path(folder) / "log").read_text()[-3000:])
        return found / 1e6, time.monotonic() - started


def measured(answers: list[int], megabytes: float, aggregation: str) -> dict[str, Any]:
    """The server's peak for each number of answers, in megabytes and in updates' worth."""
    found: dict[str, Any] = {"update_mb": megabytes, "aggregation": aggregation}
    for sites in answers:
        empty, _ = peak(sites, 1.0, aggregation)
        size, seconds = peak(sites, megabytes, aggregation)
        worth = round((size - empty) / megabytes, 2)
        found[f"answers {sites}"] = {
            "peak_mb": round(size), "of_1_mb": round(empty), "updates_worth": worth, "seconds": round(seconds),
        }  # fmt: skip
        print(sites, found[f"answers {sites}"], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", default="3,10,30")
    parser.add_argument("--megabytes", type=float, default=FEDSAM_MB)
    parser.add_argument("--aggregation", default="FedAvg")
    options = parser.parse_args()
    print(json.dumps(measured([*map(int, options.answers.split(","))], options.megabytes, options.aggregation)))


if __name__ == "__main__":
    main()
