"""The ledger of a watch: a database on the disk with the state of every study."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

NAME = "watch.sqlite"

WAITING, PROCESSING, DONE, SET_ASIDE = "waiting", "processing", "done", "set aside"
"""The states of a study."""

TABLES = """
create table if not exists studies (
    key text primary key, state text not null, attempts integer not null default 0, arrived real not null,
    changed real not null, ended real not null default 0,
    series text not null default '', error text not null default ''
) without rowid;
create index if not exists studies_by_state on studies (state, arrived, key);
create table if not exists parts (
    place text not null, name text not null, version text not null, key text not null, series text not null,
    damaged integer not null, primary key (place, name)
) without rowid;
create index if not exists parts_by_key on parts (key);
"""

BUSY = 60.0
"""Seconds to wait while another process changes the file."""

ATTEMPTS = 3
"""Number of attempts for a study that ends the process, or that the server does not send although it answers."""

KILLED = f"the process ended {ATTEMPTS} times while the study was in hand; its memory may not suffice for it"


@dataclass(frozen=True)
class Entry:
    """A study of the ledger.

    Attributes
    ----------
    key
        Key of the study, see :class:`fedmed_workflows.clinic.watch.study_parts.Part`.
    state
        ``waiting``, ``processing``, ``done`` or ``set aside``.
    attempts
        Number of attempts since the study last changed.
    arrived, changed, ended
        Times of the first part, of the last new or changed part, and of the end, done or set aside; in seconds since
        1970, 0 for never.
    series
        SeriesInstanceUID of the series that was selected.
    error
        The reason why the study was set aside.
    """

    key: str
    state: str
    attempts: int
    arrived: float
    changed: float
    ended: float
    series: str
    error: str


class LedgerFile:
    """Opens the database of a ledger; every change is a transaction.

    A change is on the disk when it returns, as a whole or not at all. Other processes may read and change the file at
    the same time.

    Parameters
    ----------
    output_dir
        Folder of the file ``watch.sqlite``.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.path = Path(output_dir) / NAME

    def make(self) -> None:
        """Creates the file if it is missing.

        Raises
        ------
        ValueError
            The file exists and is no ledger; the message names it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY)) as database:
                database.executescript(TABLES)
        except sqlite3.OperationalError:  # an error of the disk
            raise
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path}: expected the ledger of a watch, found: {error}") from error

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Opens a transaction in the existing file; a missing file is not created again."""
        address = f"{self.path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY)) as database, database:
            yield database


class StudyLedger(LedgerFile):
    """Records the state of every study of a watch: waiting, processing, done or set aside.

    Parameters
    ----------
    output_dir
        Folder of the ledger.

    Examples
    --------
    >>> import tempfile
    >>> from fedmed_workflows import StudyLedger
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = StudyLedger(folder)
    ...     ledger.make()
    ...     ledger.counts()
    {'waiting': 0, 'processing': 0, 'done': 0, 'set aside': 0}
    """

    def resume(self) -> None:
        """Returns studies to the queue that an earlier process left in work.

        A study that ended the process ``ATTEMPTS`` times is set aside; a study with fewer attempts waits again.
        """
        with self.changing() as database:
            database.execute(
                "update studies set state = ?, ended = ?, error = ? where state = ? and attempts >= ?",
                (SET_ASIDE, time.time(), KILLED, PROCESSING, ATTEMPTS),
            )
            database.execute("update studies set state = ? where state = ?", (WAITING, PROCESSING))

    def settled(self, seconds: float) -> list[str]:
        """Lists the waiting studies without a change for a number of seconds, by key, in order of arrival."""
        with self.changing() as database:
            rows = database.execute(
                "select key from studies where state = ? and changed <= ? order by arrived, key",
                (WAITING, time.time() - seconds),
            )
            return [key for (key,) in rows]

    def begin(self, key: str) -> bool:
        """Begins an attempt with a study; after ``ATTEMPTS`` attempts it sets the study aside and returns False."""
        with self.changing() as database:
            tried = database.execute("select attempts from studies where key = ?", (key,)).fetchone()[0] >= ATTEMPTS
            if tried:
                self._end(database, key, SET_ASIDE)
            else:
                database.execute(
                    "update studies set state = ?, attempts = attempts + 1 where key = ?", (PROCESSING, key)
                )
        return not tried

    def put_back(self, key: str, error: str = "") -> None:
        """Returns a study to the queue; its attempt counts only with an error."""
        with self.changing() as database:
            database.execute(
                "update studies set state = ?, attempts = attempts - ?, error = ? where key = ? and state = ?",
                (WAITING, 0 if error else 1, error, key, PROCESSING),
            )

    def done(self, key: str, series: str) -> None:
        """Records that a study is done, and the series that was selected."""
        with self.changing() as database:
            database.execute("update studies set series = ?, error = '' where key = ?", (series, key))
            self._end(database, key, DONE)

    def set_aside(self, key: str, error: str) -> None:
        """Records that a study is set aside, and the reason."""
        with self.changing() as database:
            database.execute("update studies set error = ? where key = ?", (error, key))
            self._end(database, key, SET_ASIDE)

    def _end(self, database: sqlite3.Connection, key: str, state: str) -> None:
        database.execute("update studies set state = ?, ended = ? where key = ?", (state, time.time(), key))

    def retry(self, key: str | None = None) -> int:
        """Returns a study that was set aside to the queue, or all of them without a key; the watch may go on running.

        Returns
        -------
        int
            Number of studies that wait again.

        Raises
        ------
        ValueError
            No study with this key was set aside, or there is no ledger.
        """
        if not self.path.is_file():
            raise ValueError(f"{self.path}: expected the ledger of a watch, found none")
        with self.changing() as database:
            count = database.execute(
                "update studies set state = ?, attempts = 0, error = '' where state = ? and key = coalesce(?, key)",
                (WAITING, SET_ASIDE, key),
            ).rowcount
        if key is not None and not count:
            raise ValueError(f"{self.path}: expected a study that was set aside, found none of the name {key!r}")
        return count

    def counts(self) -> dict[str, int]:
        """Counts the studies in each state."""
        with self.changing() as database:
            found = dict(database.execute("select state, count(*) from studies group by state"))
        return {state: found.get(state, 0) for state in (WAITING, PROCESSING, DONE, SET_ASIDE)}

    def entries(self, state: str, count: int) -> list[Entry]:
        """Lists studies of a state: the first that arrived, or the last that ended if the state is an end."""
        order = "ended desc, key" if state in (DONE, SET_ASIDE) else "arrived, key"
        columns = "key, state, attempts, arrived, changed, ended, series, error"
        with self.changing() as database:
            query = f"select {columns} from studies where state = ? order by {order} limit ?"
            return [Entry(*row) for row in database.execute(query, (state, count))]
