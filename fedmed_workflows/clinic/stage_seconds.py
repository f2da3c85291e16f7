"""A handler that measures the stages of a study: reading, preprocessing, the network, writing."""

from __future__ import annotations

import time
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from fedmed_workflows.clinic.study_dataset import SECONDS

STAGES = ("read", "preprocess", "network", "write")


class StageSeconds:
    """Records the seconds of each stage of every study that succeeds.

    Writing includes the postprocessing. On a GPU the time of the network ends when its computation ends.

    Attributes
    ----------
    rows
        ``path`` and seconds of each of :data:`STAGES` of the studies, in their order.

    Examples
    --------
    >>> from fedmed_workflows import StageSeconds
    >>> seconds = StageSeconds()
    >>> seconds.rows  # .attach(evaluator) has it add a row for every study
    []
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
