"""A process that waits for studies and processes them one by one, in order of arrival."""

from __future__ import annotations

import logging
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from filelock import Timeout
from ignite.engine import Engine, Events

from fedmed_networks.settings import check_number
from fedmed_transforms.studies.dicomweb.unreachable import ServerUnreachable
from fedmed_transforms.studies.studies import ERROR, Item
from fedmed_workflows.clinic.study_evaluator import Refusal, StudyEvaluator
from fedmed_workflows.clinic.watch.held_folder import HeldFolder
from fedmed_workflows.clinic.watch.ledger import StudyLedger
from fedmed_workflows.clinic.watch.status import WatchStatus

logger = logging.getLogger(__name__)

STEP = 0.1
"""Seconds until a wait notices that the process is stopping."""

PAUSE = 10.0
"""The next look comes earliest after so many times the length of the last one, so that studies go on meanwhile."""

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Source(Protocol):
    """A source of studies, for example :class:`fedmed_workflows.clinic.watch.folder.WatchedFolder`."""

    def look(self) -> list[str]:
        """Records new and changed studies; returns the keys of those that were done and wait again."""

    def item(self, key: str) -> Item | None:
        """Returns the item of a study for the network, or None if the study is changing."""

    def unchanged(self, key: str) -> bool:
        """Tells whether the study is as it was at the last look."""

    def answers(self) -> bool:
        """Tells whether the source answers."""

    def release(self) -> None:
        """Removes the files that were made for the study in work."""


class Watch:
    """Iterates over an endless stream of studies, each once, for a dataset; it waits while there is none.

    A study is processed when it has not changed for some time. Its state is in the ledger and on the page
    ``status.html`` of the output folder. The watch waits while a disk is full, or a folder or a server is missing.
    SIGTERM and SIGINT end the watch after the study in work; a second signal ends it at once.

    Parameters
    ----------
    source
        The source of studies.
    output_dir
        Folder of the results.
    settle_seconds
        Seconds without a change after which a study is processed, at least 0.
    poll_seconds
        Seconds between two looks at the source, at least 0.

    Raises
    ------
    ValueError
        A number of seconds is out of its range.

    Examples
    --------
    >>> import tempfile
    >>> from fedmed_workflows import Watch, watch_source
    >>> with tempfile.TemporaryDirectory() as inbox:
    ...     watch = Watch(watch_source(inbox, None, None, "results"), "results", settle_seconds=5)
    >>> watch.settle_seconds  # .run(evaluator) processes the studies that arrive
    5
    """

    def __init__(
        self, source: Source, output_dir: str, settle_seconds: float = 60.0, poll_seconds: float = 10.0
    ) -> None:
        for name, seconds in (("settle_seconds", settle_seconds), ("poll_seconds", poll_seconds)):
            check_number(name, seconds, least=0)
        self.source, self.output_dir = source, Path(output_dir)
        self.settle_seconds, self.poll_seconds = settle_seconds, poll_seconds
        self.ledger = StudyLedger(output_dir)
        self.status = WatchStatus(self.output_dir, self.ledger)
        self._folder = HeldFolder(self.output_dir)
        self._key, self._series, self._trouble = "", "", ""
        self._looked, self._next_look, self._stopping = False, 0.0, False

    def run(self, evaluator: StudyEvaluator) -> None:
        """Processes studies with an evaluator until a signal stops the process.

        Parameters
        ----------
        evaluator
            An evaluator of a dataset over this watch.

        Raises
        ------
        ValueError
            Another process uses the same output folder, or its ledger is damaged.
        """
        logging.basicConfig(format="%(asctime)s %(message)s")  # nothing where logging is configured
        logging.getLogger("fedmed_workflows").setLevel(logging.INFO)
        before = {number: signal.signal(number, self._stop) for number in STOPPING}
        try:
            with self._folder:
                self.ledger.make()
                self.ledger.resume()
                evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._ended)
                evaluator.run()
                self.status.write(self._trouble, "ended")
        except Timeout as error:
            raise ValueError(f"output_dir {self.output_dir}: another process is watching for it") from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)

    def __iter__(self) -> Iterator[Item]:
        """Yields the studies, in order of arrival, until a signal stops the process."""
        while not self._stopping:
            item = self._trying(self._next)
            if item is not None:
                yield item
            elif not self._stopping:
                self._pause()

    def _next(self) -> Item | None:
        self._folder.check()
        if self._key:  # the disk did not take the end of the study
            self._put_back(None)
        if time.monotonic() >= self._next_look:
            self._look()
        for key in self.ledger.settled(self.settle_seconds):
            if not self._stopping and (item := self._begin(key)) is not None:
                return item
        self._trouble = ""
        self.status.write()
        return None

    def _look(self) -> None:
        begun = time.monotonic()
        try:
            again = self.source.look()
        except ValueError as error:
            if not self._looked:  # the query itself is wrong
                raise
            raise ServerUnreachable(str(error)) from error
        self._looked, now = True, time.monotonic()
        self._next_look = now + max(self.poll_seconds, PAUSE * (now - begun))
        for key in again:
            logger.warning("%s: changed after it was done; it is processed again", key)

    def _begin(self, key: str) -> Item | None:
        self._key = key
        if not self.ledger.begin(key):
            return None
        self.status.write(self._trouble)
        try:
            item = self.source.item(key)
        except ServerUnreachable as error:
            self._put_back(error)
            raise
        except ValueError as error:
            item = {"path": key, "study": key, ERROR: str(error)}
        if item is None:
            self._put_back(None)
        else:
            self._series = str(item.get("series", ""))
        return item

    def _put_back(self, trouble: BaseException | None) -> None:
        """Returns the study in work to the queue; its attempt counts if the server answers and does not send it."""
        blamed = isinstance(trouble, ServerUnreachable) and self.source.answers()
        self.ledger.put_back(self._key, str(trouble) if blamed else "")
        self._key = ""

    def _ended(self, engine: Engine) -> None:
        """Records the end of the study in work, as soon as the disk takes it."""
        self.source.release()
        trouble, refused = engine.state.trouble, engine.state.refusal
        if trouble is None and refused is not None and not self.source.answers():
            trouble = OSError("the source of the studies is away")
        while not self._trying(lambda: self._note(trouble, refused)) and not self._stopping:
            self._pause()
        if trouble:
            self._pause()

    def _note(self, trouble: BaseException | None, refused: Refusal | None) -> bool:
        self._folder.check()
        if trouble is not None:
            self._put_back(trouble)
            self._report(str(trouble))
            return True
        if refused is None:
            self.ledger.done(self._key, self._series)
        elif self.source.unchanged(self._key):
            self.ledger.set_aside(self._key, refused.error)
        else:  # the study was still arriving
            self._put_back(None)
        self._key = self._trouble = ""
        self.status.write()
        return True

    def _trying(self, action: Callable[[], Any]) -> Any:
        """Returns the result of an action, or None if a disk or a server prevents it."""
        try:
            return action()
        except (OSError, sqlite3.OperationalError, ServerUnreachable) as error:
            self._report(str(error))
            return None

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning("waiting: %s", trouble)
        self._trouble = trouble
        self.status.write(trouble)

    def _pause(self) -> None:
        end = time.monotonic() + self.poll_seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(STEP, left))
