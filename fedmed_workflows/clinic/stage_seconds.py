"""A handler that measures how long each stage of a study takes: reading, preprocessing, the network, writing."""

from __future__ import annotations

import time
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from fedmed_workflows.clinic.study_dataset import SECONDS

STAGES = ("read", "preprocess", "network", "write")


class StageSeconds:
    """Keeps the seconds of every study that went well.

    Writing includes the postprocessing; of a network on a GPU the work itself is measured, not its start.

    Attributes
    ----------
    rows
        Of each study its ``path`` and the seconds of each of :data:`STAGES`, in order.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._moments: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to a :class:`fedmed_workflows.StudyEvaluator`."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._start)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._note)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)

    def _start(self, engine: Engine) -> None:
        self._moments = [time.perf_counter()]

    def _note(self, engine: Engine) -> None:
        if engine.state.device.type == "cuda":
            torch.cuda.synchronize(engine.state.device)
        self._moments.append(time.perf_counter())

    def _keep(self, engine: Engine) -> None:
        if engine.state.refusal is not None:
            return
        (item,) = engine.state.batch
        start, answered = self._moments
        seconds = {stage: float(item[SECONDS][stage]) for stage in STAGES[:2]}
        seconds.update(network=answered - start, write=time.perf_counter() - answered)
        self.rows.append({"path": item["path"], **seconds})
