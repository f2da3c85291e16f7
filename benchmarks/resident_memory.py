"""Resident memory of a process and of those that it starts, sampled from outside while it runs."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import psutil

SAMPLE_SECONDS = 0.005
SEARCH_EVERY = 40
"""Samples between two searches for processes that it started, which take as long as hundreds of samples."""


class ResidentMemory:
    """Samples as long as its context lasts.

    Parameters
    ----------
    process
        The process's id.
    """

    def __init__(self, process: int) -> None:
        self._process = psutil.Process(process)
        self._samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> ResidentMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def peak(self, begin: float, end: float) -> float:
        """Largest size in megabytes between two moments of ``time.time()``; in between two samples, the nearest one."""
        if not self._samples:
            raise RuntimeError("the process ended before its memory was sampled")
        within = [size for moment, size in self._samples if begin <= moment <= end]
        nearest = min(self._samples, key=lambda sample: abs(sample[0] - end))
        return max(within, default=nearest[1])

    def _sample(self) -> None:
        number, started = 0, []
        while not self._ended.wait(SAMPLE_SECONDS):
            try:
                if number % SEARCH_EVERY == 0:
                    started = self._process.children(recursive=True)
                size = sum(map(_resident, started), self._process.memory_info().rss / 1e6)
            except psutil.Error:  # it has ended
                return
            self._samples.append((time.time(), size))
            number += 1


def _resident(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.Error:
        return 0.0
