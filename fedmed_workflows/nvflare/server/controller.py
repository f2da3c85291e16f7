"""The controller of a federation on NVFlare's server, which runs the rounds with the answers of the sites."""

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
from fedmed_workflows.json_file import read_entries
from fedmed_workflows.nvflare.server.returned_memory import return_freed_memory
from fedmed_workflows.nvflare.server.site_registry import SiteRegistry
from fedmed_workflows.nvflare.server.sites import NVFlareSites
from fedmed_workflows.nvflare.server.tasks import SiteTasks
from fedmed_workflows.nvflare.server.tracking import RoundEvents
from fedmed_workflows.nvflare.site.environment import STATE
from fedmed_workflows.nvflare.wire.messages import register_tensors

logger = logging.getLogger(__name__)

JOB, INITIAL = "federation.json", "initial.safetensors"
"""Files of a job that the server reads, in addition to NVFlare's configuration."""

OUTCOME, FAILURE, DATA = "outcome.json", "failure.json", "data.json"
"""Files that the server writes to the run folder: the outcome for the report or the failure, and the sites' digests."""

SERVER_LOCK = ".server.lock"
"""Name of the file that the server locks in the run folder."""

PROGRESS = "fedmed.progress"
"""Topic of an administrator's request for the history of a running job."""

AGGREGATIONS = "fedmed_workflows.aggregation."
"""Prefix of the aggregations that a job may name."""


class FederationController(Controller):  # type: ignore[misc]
    """Runs the rounds of a federation on NVFlare's server, which needs no bundle, no foundation and no image.

    The controller has no arguments; it reads the job's file ``federation.json``. The aggregates are in a folder of the
    server that outlives the job (``FEDMED_STATE_DIR``, or ``fedmed`` in NVFlare's workspace). A job that is submitted
    again, after a restart of the server or the return of a site, continues after the last complete round.
    """

    def __init__(self) -> None:
        super().__init__()
        register_tensors()

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Reads the job, and registers the command that reports its progress."""
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
        """Does nothing: :meth:`control_flow` releases all resources."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Runs the remaining rounds; writes the outcome to the run folder and to the result of the job."""
        try:
            with self._folder as folder:
                self._run(folder, SiteTasks(self, fl_ctx, abort_signal))
        except Exception as error:
            logger.exception("federation")
            if not abort_signal.triggered:
                self._write_outcome(self._folder.path, FAILURE, {"error": str(error), "kind": type(error).__name__})
                self.system_panic(str(error), fl_ctx)

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """Ignores an answer that came after the time limit of its task."""
        logger.warning("site %s: its answer to task %r came too late", client.name, task_name)

    def _run(self, folder: RunFolder, tasks: SiteTasks) -> None:
        for name in (OUTCOME, FAILURE):
            (folder.path / name).unlink(missing_ok=True)
        job, manifest = self._job, Manifest.from_json(self._job["manifest"])
        initial = FileWeights(self._config / INITIAL)
        manifest.check(initial, "the job's initial tensors")
        registry = SiteRegistry(
            job["sites"], job["unseen"], manifest, weights_digest(initial), job["min_sites"], _known_data(folder.path)
        )
        sites = NVFlareSites(
            tasks, registry, initial, job["round_seconds"], folder.path / "incoming", job["filtered"]
        )
        sites.open(folder.history)
        write_whole(folder.path / DATA, json.dumps(registry.data))
        privacy = GaussianUpdate(**job["privacy"]) if job["privacy"] else None
        aggregation = _aggregation(job["aggregation"])
        rounds = Rounds(sites, folder, manifest, aggregation, job["rounds"], job["min_sites"], privacy)
        weights, history = rounds.run(lambda number, entries: None, RoundEvents(self, tasks.fl_ctx, registry.names))
        outcome = {
            "history": history,
            "sites": registry.roles(),
            "notes": registry.notes,
            "initial": sites.score(initial, 0),
            "final": sites.score(weights, job["rounds"]),
        }
        self._write_outcome(folder.path, OUTCOME, outcome)

    def _write_outcome(self, path: Path, name: str, content: dict[str, Any]) -> None:
        """Writes outcome or failure to the run folder, and with the last aggregate to the result of the job."""
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
        """Returns the history of the complete rounds so far."""
        return {"history": self._folder.history}


def _known_data(path: Path) -> dict[str, str]:
    file = path / DATA
    known: dict[str, str] = read_entries(file, "digests by site") if file.is_file() else {}
    return known


def _aggregation(entry: dict[str, Any]) -> Aggregation:
    """Builds the aggregation that a job names: a class of this package, with plain arguments.

    Raises
    ------
    ValueError
        The name is not an aggregation of this package, for example a class that a module of the package imports, or the
        class does not have such arguments.
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
