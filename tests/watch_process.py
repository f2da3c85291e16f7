"""A watch in a process of its own, that a test kills and starts again."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.waiting import END_SECONDS


class WatchProcess:
    """A copy of the test's process that runs a function; SIGKILL at the latest when the block ends.

    Parameters
    ----------
    target
        What it runs.
    *arguments
        Of the function.
    """

    def __init__(self, target: Callable[..., Any], *arguments: Any) -> None:
        self._process = multiprocessing.get_context("fork").Process(target=target, args=arguments)

    def __enter__(self) -> WatchProcess:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The process id of the watch."""
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.is_alive()

    def end(self, how: signal.Signals) -> int | None:
        """Sends a signal, and returns the exit status."""
        if self.alive:
            os.kill(self.pid, how)
        return self.wait()

    def wait(self) -> int | None:
        """The exit status, once it has ended by itself."""
        self._process.join(END_SECONDS)
        return self._process.exitcode


def states(output_dir: Path) -> dict[str, str]:
    """The state of each study in the ledger; none where there is no ledger yet."""
    return {key: state for key, state, *_ in _rows(output_dir)}


def errors(output_dir: Path) -> dict[str, str]:
    """Why studies were set aside."""
    return {key: error for key, state, error, _ in _rows(output_dir) if state == "set aside"}


def attempts(output_dir: Path) -> dict[str, int]:
    """Returns the number of attempts at each study since it last changed."""
    return {key: count for key, _, _, count in _rows(output_dir)}


def _rows(output_dir: Path) -> list[Any]:
    try:
        address = f"{(output_dir / 'watch.sqlite').as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, END_SECONDS, uri=True)) as database:
            return list(database.execute("select key, state, error, attempts from studies order by arrived"))
    except sqlite3.OperationalError:
        return []


def page(output_dir: Path) -> str:
    """The status page; empty where there is none yet."""
    file = output_dir / "status.html"
    return file.read_text() if file.exists() else ""


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
