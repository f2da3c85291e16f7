"""The server's side of a federation on NVFlare: the rounds, on what its sites answer."""

from __future__ import annotations

import json
import logging
import os
import shutil
from inspect import isabstract
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.aggregation import Aggregation
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate
from fedmed_workflows.exchange.weights import FileWeights, weights_digest
from fedmed_workflows.federation.rounds import Rounds
from fedmed_workflows.federation.run_folder import RunFolder
from fedmed_workflows.nvflare.server.returned_memory import return_freed_memory
from fedmed_workflows.nvflare.server.site_registry import SiteRegistry
from fedmed_workflows.nvflare.server.sites import NVFlareSites
from fedmed_workflows.nvflare.server.tasks import SiteTasks
from fedmed_workflows.nvflare.server.tracking import RoundEvents
from fedmed_workflows.nvflare.site.environment import STATE
from fedmed_workflows.nvflare.wire.messages import register_tensors

logger = logging.getLogger(__name__)

JOB, INITIAL = "federation.json", "initial.safetensors"
"""The part of a job that the server reads, beside NVFlare's own configuration."""

OUTCOME, FAILURE, DATA = "outcome.json", "failure.json", "data.json"
"""What the server leaves in the run's folder: what the report needs, or why there is none, and the sites' digests."""

SERVER_LOCK = ".server.lock"

PROGRESS = "fedmed.progress"
"""Topic under which an administrator asks a running job for its history."""

AGGREGATIONS = "fedmed_workflows.aggregation."


class FederationController(Controller):  # type: ignore[misc]
    """Runs a federation's rounds on NVFlare's server, which needs no bundle, no foundation and no image.

    It takes no arguments: what a job says is in its ``federation.json``. The aggregates lie in a folder of the server
    that outlives the job (``FEDMED_STATE_DIR``, or ``fedmed`` in NVFlare's workspace): a job that is submitted again,
    after the server was restarted or a site came back, goes on after the last whole round.
    """

    def __init__(self) -> None:
        super().__init__()
        register_tensors()

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Reads the job, and answers questions about its progress from now on."""
        return_freed_memory()
        workspace = fl_ctx.get_engine().get_workspace()
        self._run_dir = Path(workspace.get_run_dir(fl_ctx.get_prop(ReservedKey.RUN_NUM)))
        self._config = Path(workspace.get_app_config_dir(fl_ctx.get_prop(ReservedKey.RUN_NUM)))
        self._job: dict[str, Any] = json.loads((self._config / JOB).read_text())
        state = Path(os.environ.get(STATE) or Path(workspace.get_root_dir()) / "fedmed")
        path = state / Path(self._job["folder"]).name
        self._folder = RunFolder(path, self._job["identity"], SERVER_LOCK)
        fl_ctx.get_engine().register_app_command(PROGRESS, self._progress)

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is left to do."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Runs the rounds that are left. What came of it is in the run's folder and in the job's result."""
        try:
            with self._folder as folder:
                self._run(folder, SiteTasks(self, fl_ctx, abort_signal))
        except Exception as error:
            logger.exception("federation")
            if not abort_signal.triggered:
                self._leave(self._folder.path, FAILURE, {"error": str(error), "kind": type(error).__name__})
                self.system_panic(str(error), fl_ctx)

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """An answer that came after its time is not taken up."""
        logger.warning("site %s: its answer to task %r came too late", client.name, task_name)

    def _run(self, folder: RunFolder, tasks: SiteTasks) -> None:
        for name in (OUTCOME, FAILURE):
            (folder.path / name).unlink(missing_ok=True)
        job, manifest = self._job, Manifest.from_json(self._job["manifest"])
        initial = FileWeights(self._config / INITIAL)
        manifest.check(initial, "the job's initial tensors")
        opened = SiteRegistry(
            job["sites"], job["unseen"], manifest, weights_digest(initial), job["min_sites"], _known_data(folder.path)
        )
        sites = NVFlareSites(
            tasks, opened, initial, job["round_seconds"], folder.path / "incoming", job["filtered"]
        )
        sites.open(folder.history)
        write_whole(folder.path / DATA, json.dumps(opened.data))
        privacy = GaussianUpdate(**job["privacy"]) if job["privacy"] else None
        aggregation = _aggregation(job["aggregation"])
        rounds = Rounds(sites, folder, manifest, aggregation, job["rounds"], job["min_sites"], privacy)
        weights, history = rounds.run(lambda number, entries: None, RoundEvents(self, tasks.fl_ctx, opened.names))
        outcome = {
            "history": history,
            "sites": opened.roles(),
            "notes": opened.notes,
            "initial": sites.score(initial, 0),
            "final": sites.score(weights, job["rounds"]),
        }
        self._leave(folder.path, OUTCOME, outcome)

    def _leave(self, path: Path, name: str, content: dict[str, Any]) -> None:
        """Writes what came of the run into its folder, and with the last aggregate into the job's result."""
        write_whole(path / name, json.dumps(content))
        result = self._run_dir / "fedmed"
        result.mkdir(parents=True, exist_ok=True)
        pointer = path / "checkpoints" / "last.json"
        files = [path / name]
        if pointer.is_file():
            files += [pointer, pointer.parent / json.loads(pointer.read_text())["file"]]
        for file in files:
            shutil.copyfile(file, result / file.name)

    def _progress(self, topic: str, data: Any, fl_ctx: FLContext, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The history of the whole rounds so far."""
        return {"history": self._folder.history}


def _known_data(path: Path) -> dict[str, str]:
    file = path / DATA
    known: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    return known


def _aggregation(entry: dict[str, Any]) -> Aggregation:
    """The aggregation that a job names: a class of this package, with plain arguments.

    Raises
    ------
    ValueError
        It is something else, for example what a module of this package has imported, or has no such arguments.
    """
    name = entry["name"]
    try:
        found = resolve_name(name) if name.startswith(AGGREGATIONS) else None
    except (ImportError, AttributeError):
        found = None
    own = isinstance(found, type) and issubclass(found, Aggregation) and not isabstract(found)
    if found is None or not own or not f"{found.__module__}.".startswith(AGGREGATIONS):
        raise ValueError(f"aggregation {name!r}: expected a class of {AGGREGATIONS}*")
    try:
        return found(**entry["arguments"])
    except TypeError as error:
        raise ValueError(f"aggregation {name!r}: {error}") from error
