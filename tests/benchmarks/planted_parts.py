"""Parts that fail, hang, die and skip, for the tests of the runner."""

from __future__ import annotations

import os
import time

from benchmarks.gpu.part import PartRun, SkippedPart, expect


def passing(run: PartRun) -> None:
    """Records a figure."""
    run.record(device=run.device.type, figure=1.5)


def failing(run: PartRun) -> None:
    """Records a figure and fails after it."""
    run.record(before=2)
    expect(run.device.type == "another", "found other bits")


def hanging(run: PartRun) -> None:
    """Records a figure and never ends."""
    run.record(before=3)
    time.sleep(3600)


def dying(run: PartRun) -> None:
    """Ends its process as the kernel does when memory is out."""
    os.kill(os.getpid(), 9)


def skipping(run: PartRun) -> None:
    """Lacks a library."""
    raise SkippedPart("no library of this name")


def using_a_gpu(run: PartRun) -> None:
    """Needs a GPU with more memory than there is."""
    run.need_gpu(gigabytes=1e6)
