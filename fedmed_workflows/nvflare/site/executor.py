"""The executor of a site on NVFlare, which answers the tasks with the same site class as the engine of one process."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.logging.constants import is_log_streaming_allowed
from safetensors.torch import load_file, save_file

from fedmed_workflows.errors import SiteError, reported_error
from fedmed_workflows.exchange.filtered_update import difference
from fedmed_workflows.exchange.privacy.private_update import hold_statistics
from fedmed_workflows.exchange.weights import Weights, weights_digest
from fedmed_workflows.federation.identity import versions
from fedmed_workflows.nvflare.site.environment import SiteEnvironment
from fedmed_workflows.nvflare.site.joined_site import Joined, folder_name, join
from fedmed_workflows.nvflare.site.released import released_files, stored_files
from fedmed_workflows.nvflare.wire.files import SOURCE, fetch_file, serve_file
from fedmed_workflows.nvflare.wire.messages import (
    OPEN,
    SAMPLES,
    SCORE,
    TRAIN,
    VALIDATE,
    failure,
    message,
    message_values,
    register_tensors,
    with_difference,
)

logger = logging.getLogger(__name__)

JOB = "federation.json"
"""File of a job that a site reads, in addition to NVFlare's configuration."""


class SiteExecutor(Executor):  # type: ignore[misc]
    """Answers the tasks of a federation with the bundle, the images and the weights of this site.

    The executor has no arguments; it reads the job's file ``federation.json``, whose plain values :func:`join` checks.
    An answer has trained tensors, numbers, and error messages without file names. The site's own log has the details.
    """

    def __init__(self) -> None:
        super().__init__()
        register_tensors()
        self._joined: Joined | None = None
        self._initial: Weights = {}
        self._held: tuple[int, Weights] | None = None
        self._filtered = False
        self._offers = ExitStack()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answers one task. An error is also sent as an answer."""
        site = fl_ctx.get_identity_name()
        tasks = {OPEN: self._open, TRAIN: self._train, VALIDATE: self._validate, SCORE: self._score}
        try:
            return tasks[task_name](site, shareable, fl_ctx, abort_signal)
        except Exception as error:  # every error must become an answer, so that the other sites continue
            logger.exception("site %s, task %s", site, task_name)
            return failure(f"site {site!r}: {reported_error(error).removeprefix(f'site {site!r}: ')}")

    def _open(self, site: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        task = message_values(shareable, "server")
        joined = self._join(site, fl_ctx, task.get("files", {}), task.get("settings", {}))
        contributed = task.get("contributed", {}).get(site)
        if contributed and not joined.algo.state.file(contributed).is_file():
            raise SiteError(
                f"the state after round {contributed} is missing at this site; "
                "without it the run would not end with the same weights"
            )
        released = joined.prepared if joined.algo.held_out else None
        return message(
            manifest=joined.algo.manifest.to_json(),
            initial=weights_digest(self._initial),
            samples=joined.algo.samples,
            data=joined.data,
            notes=joined.prepared.notes,
            versions=versions(),
            **(released_files(released.settings) if released else {}),
        )

    def _join(self, site: str, fl_ctx: FLContext, files: Mapping[str, bytes], settings: dict[str, Any]) -> Joined:
        """Returns the site, which is built once in a process; stores released files with the site's state."""
        if self._joined is None:
            check_log_stays(fl_ctx)
            environment = SiteEnvironment.read()
            job = job_of(fl_ctx)
            folder = environment.state_dir / folder_name(job, "folder")
            self._joined = join(job, site, environment, stored_files(folder, site, files, settings))
            self._initial = self._joined.algo.initial_weights()
            self._filtered = bool(job["filtered"])
            if self._filtered:
                hold_statistics(self._joined.algo.network)
        return self._joined

    def _validate(self, site: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        algo = self._join(site, fl_ctx, {}, {}).algo
        weights = self._weights(shareable, fl_ctx, abort_signal)
        return message(metrics=algo.evaluate(ExchangeObject(weights=weights)).metrics)

    def _train(self, site: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        algo = self._join(site, fl_ctx, {}, {}).algo
        if not self._has(shareable):
            return message(needs_weights=True)
        received = self._weights(shareable, fl_ctx, abort_signal)
        update = algo.fit_round(received, message_values(shareable, "server")["round"])
        values = {"metrics": update.metrics, SAMPLES: update.samples}
        if not self._filtered:
            return message(**self._offer(update.weights, fl_ctx), **values)
        np.random.seed()  # random filters use this seed; the server knows that of the round
        return with_difference(difference(algo.network, update.weights, received), **values)

    def _offer(self, weights: Mapping[str, torch.Tensor], fl_ctx: FLContext) -> dict[str, Any]:
        """Offers an update to the server, until the next update or the end of the process."""
        self._offers.close()
        file = Path(self._offers.enter_context(TemporaryDirectory())) / "update.safetensors"
        save_file(dict(weights), file)
        return self._offers.enter_context(serve_file(fl_ctx.get_engine().get_cell(), file))

    def _score(self, site: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        algo = self._join(site, fl_ctx, {}, {}).algo
        initial = message_values(shareable, "server").get("initial")
        if not initial and not self._has(shareable):
            return message(needs_weights=True)
        weights = self._initial if initial else self._weights(shareable, fl_ctx, abort_signal)
        return message(score=json.dumps(algo.score(weights, bool(initial))))

    def _has(self, shareable: Shareable) -> bool:
        """Returns whether the aggregate of a task is sent with the task, or is here from a previous task."""
        task = message_values(shareable, "server")
        return SOURCE in task or (self._held is not None and self._held[0] == task["aggregate"])

    def _weights(self, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Weights:
        task = message_values(shareable, "server")
        if SOURCE in task:
            self._held = None  # frees the memory before the next aggregate arrives
            cell = fl_ctx.get_engine().get_cell()
            with TemporaryDirectory() as folder:
                file = fetch_file(cell, task[SOURCE], Path(folder), abort_signal)
                self._held = (task["aggregate"], load_file(file))
        if self._held is None:
            raise SiteError("received no weights")
        return self._held[1]


def check_log_stays(fl_ctx: FLContext) -> None:
    """Refuses to work at a site whose NVFlare would send its logs, which name files, to the server."""
    if is_log_streaming_allowed(fl_ctx):
        raise SiteError(
            "NVFlare would send this site's logs to the server; "
            "expected '\"allow_log_streaming\": false' in local/resources.json"
        )


def job_of(fl_ctx: FLContext) -> dict[str, Any]:
    """Reads the part of the running job for its sites."""
    workspace = fl_ctx.get_engine().get_workspace()
    job: dict[str, Any] = json.loads(
        (Path(workspace.get_app_config_dir(fl_ctx.get_prop(ReservedKey.RUN_NUM))) / JOB).read_text()
    )
    return job
