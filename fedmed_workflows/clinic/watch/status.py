"""The status page of a watch: waiting studies, the study in work, and the results of the others."""

from __future__ import annotations

import logging
import sqlite3
import time
from datetime import datetime
from pathlib import Path

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.clinic.watch.ledger import DONE, PROCESSING, SET_ASIDE, WAITING, StudyLedger
from fedmed_workflows.report.rendering import render

logger = logging.getLogger(__name__)

PAGE = "status.html"

SHOWN = {WAITING: 20, PROCESSING: 1, DONE: 20, SET_ASIDE: 100}
"""Number of studies of each state on the page."""

ALIVE = 60.0
"""Seconds after which the page is written again without a change."""


class WatchStatus:
    """Writes the page ``status.html`` after every change and once a minute, and a line on the queue to the log.

    The page names studies by their UIDs and paths.

    Parameters
    ----------
    output_dir
        Folder of the page.
    ledger
        The ledger that the page shows.
    """

    def __init__(self, output_dir: Path, ledger: StudyLedger) -> None:
        self.path, self.ledger = output_dir / PAGE, ledger
        self.began = time.time()
        self._line, self._written = "", 0.0

    def write(self, trouble: str = "", state: str = "running") -> None:
        """Writes the page if it is due; an error of the disk is only logged.

        Parameters
        ----------
        trouble
            The trouble for whose end the watch waits; empty for none.
        state
            ``running`` or ``ended``.
        """
        try:
            self._write(trouble, state)
        except (OSError, sqlite3.Error) as error:
            logger.warning("%s: not written: %s", self.path, error)

    def _write(self, trouble: str, state: str) -> None:
        counts = self.ledger.counts()
        hand = self.ledger.entries(PROCESSING, 1)
        line = ", ".join(f"{count} {name}" for name, count in counts.items())
        line += f"; in hand: {hand[0].key}" if hand else ""
        line = f"{state}: {line}{f'; waiting: {trouble}' if trouble else ''}"
        if line == self._line and time.time() < self._written + ALIVE:
            return
        if line != self._line and not trouble:
            logger.info("%s", line)
        entries = {name: self.ledger.entries(name, count) for name, count in SHOWN.items()}
        content = {"method": "watch", "state": state, "trouble": trouble, "counts": counts, "entries": entries,
                   "now": _clock(time.time()), "began": _clock(self.began), "clock": _clock}  # fmt: skip
        write_whole(self.path, render("watch.html", content))
        self._line, self._written = line, time.time()


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
