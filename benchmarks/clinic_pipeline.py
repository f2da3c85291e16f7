"""The inference command of a bundle, in a process of its own, with the moments at which each study's stages ended."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from resident_memory import ResidentMemory

STAGES = ("fetch", "read", "preprocess", "network", "write")
"""Of a study; it is fetched from an archive if it comes from one, and stored there as part of writing."""

Spans = dict[str, tuple[float, float]]
"""From when to when each stage lasted, in ``time.time()``."""


def consecutive(begin: float, ends: Mapping[str, float]) -> Spans:
    """Spans of stages, each beginning when the one before it ends."""
    begins = [begin, *ends.values()]
    return {stage: (begins[number], end) for number, (stage, end) in enumerate(ends.items())}


def pipeline(entries: Mapping[str, Any]) -> tuple[Spans, list[Spans], ResidentMemory]:
    """Runs ``inference.json`` with these entries; returns the spans of its start, those of its studies, its memory."""
    begin = time.time()
    command = [sys.executable, __file__, json.dumps(dict(entries))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with ResidentMemory(process.pid) as memory:
            printed, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the inference command ended with {process.returncode}: {errors[-3000:]}")
    found = json.loads(printed.splitlines()[-1])
    return {"start": (begin, found["started"])}, found["studies"], memory


class Moments:
    """When an evaluator began to fetch each study, had it prepared, and was done with it."""

    def __init__(self, engine: Any) -> None:
        from ignite.engine import Events

        self.asked: list[float] = []
        self.prepared: list[float] = []
        self.done: list[float] = []
        for event, moments in (
            (Events.GET_BATCH_STARTED, self.asked), (Events.GET_BATCH_COMPLETED, self.prepared),
            (Events.ITERATION_COMPLETED, self.done),
        ):  # fmt: skip
            engine.add_event_handler(event, lambda _, moments=moments: moments.append(time.time()))


def run(entries: dict[str, Any]) -> None:
    """Runs in this process; the last line it prints is a JSON object."""
    from monai.bundle import create_workflow

    from fedmed_workflows.clinic.stage_seconds import StageSeconds

    workflow = create_workflow(workflow_type="inference", **entries)
    evaluator, seconds = workflow.parser.get_parsed_content("evaluator"), StageSeconds()
    seconds.attach(evaluator)
    moments = Moments(evaluator)
    workflow.run()
    studies = []
    for asked, prepared, done, row in zip(moments.asked, moments.prepared, moments.done, seconds.rows, strict=False):
        loaded = prepared - row["preprocess"]
        ends = [loaded - row["read"], loaded, prepared, prepared + row["network"], done]
        spans = consecutive(asked, dict(zip(STAGES, ends, strict=True)))
        studies.append(spans if entries.get("dicomweb") else {stage: spans[stage] for stage in STAGES[1:]})
    print("\n" + json.dumps({"started": moments.asked[0], "studies": studies}))


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
