"""Runs work on threads while the next piece is read, with a bound on waiting pieces."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

MOST_THREADS = 8

Task = TypeVar("Task")


def threads() -> int:
    """Counts the threads for reading and decoding: one for each core of this process, at most eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, cores)


def in_turn(work: Callable[[Task], object], tasks: Iterable[Task]) -> None:
    """Runs work for every task on a few threads, with at most two waiting tasks a thread; the first error ends it."""
    pending: deque[Future[object]] = deque()
    with ThreadPoolExecutor(threads(), thread_name_prefix="load") as pool:
        try:
            for task in tasks:
                if len(pending) >= 2 * threads():
                    pending.popleft().result()
                pending.append(pool.submit(work, task))
            while pending:
                pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
