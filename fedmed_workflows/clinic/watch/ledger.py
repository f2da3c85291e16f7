"""The studies of a watch, on the disk: which wait, which is in hand, which are done or set aside."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

ATTEMPTS = 3
"""How often a study is tried that ends the process, or that its server does not send while it answers."""

KILLED = f"the process ended {ATTEMPTS} times while the study was in hand; its memory may not suffice for it"


@dataclass(frozen=True)
class Entry:
    """A study of the ledger.

    Attributes
    ----------
    key
        As of its parts.
    state
        ``waiting``, ``processing``, ``done`` or ``set aside``.
    attempts
        How often it was begun since it last changed.
    arrived, changed, ended
        When its first part was seen, when a part was last seen to be new or other, and when it was done or set aside;
        seconds since 1970, 0 for never.
    series
        The SeriesInstanceUID that was taken of it.
    error
        Why it was set aside.
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
    """What a change has written is on the disk when it returns, all of it or nothing; other processes may read and
    change the file at the same time.

    Parameters
    ----------
    output_dir
        Folder of the file ``watch.sqlite``.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.path = Path(output_dir) / NAME

    def make(self) -> None:
        """Makes the file where there is none.

        Raises
        ------
        ValueError
            There is one, which is no ledger; the message names it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY)) as database:
                database.executescript(TABLES)
        except sqlite3.OperationalError:  # of the disk
            raise
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path}: expected the ledger of a watch, found: {error}") from error

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction in a file that is there: where the folder is gone, no other one is begun in its place."""
        address = f"{self.path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY)) as database, database:
            yield database


class StudyLedger(LedgerFile):
    """The states of a watch's studies.

    Parameters
    ----------
    output_dir
        Folder of the ledger.
    """

    def resume(self) -> None:
        """Takes up what an earlier process left in hand.

        A study that ended the process ``ATTEMPTS`` times is set aside; one that did so less often waits again.
        """
        with self.changing() as database:
            database.execute(
                "update studies set state = ?, ended = ?, error = ? where state = ? and attempts >= ?",
                (SET_ASIDE, time.time(), KILLED, PROCESSING, ATTEMPTS),
            )
            database.execute("update studies set state = ? where state = ?", (WAITING, PROCESSING))

    def settled(self, seconds: float) -> list[str]:
        """Keys of the studies that wait and have not changed for that long, in order of arrival."""
        with self.changing() as database:
            rows = database.execute(
                "select key from studies where state = ? and changed <= ? order by arrived, key",
                (WAITING, time.time() - seconds),
            )
            return [key for (key,) in rows]

    def begin(self, key: str) -> bool:
        """Takes a study in hand; false for one that was tried often enough, which is set aside with its last error."""
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
        """Has the study in hand wait again; the attempt counts if it comes with an error."""
        with self.changing() as database:
            database.execute(
                "update studies set state = ?, attempts = attempts - ?, error = ? where key = ? and state = ?",
                (WAITING, 0 if error else 1, error, key, PROCESSING),
            )

    def done(self, key: str, series: str) -> None:
        """Notes that a study is done, and which series was taken."""
        with self.changing() as database:
            database.execute("update studies set series = ?, error = '' where key = ?", (series, key))
            self._end(database, key, DONE)

    def set_aside(self, key: str, error: str) -> None:
        """Sets a study aside, with the reason."""
        with self.changing() as database:
            database.execute("update studies set error = ? where key = ?", (error, key))
            self._end(database, key, SET_ASIDE)

    def _end(self, database: sqlite3.Connection, key: str, state: str) -> None:
        database.execute("update studies set state = ?, ended = ? where key = ?", (state, time.time(), key))

    def retry(self, key: str | None = None) -> int:
        """Has a study that was set aside wait again; all of them without a key. A watch need not be stopped for it.

        Returns
        -------
        int
            How many.

        Raises
        ------
        ValueError
            No such study was set aside, or there is no ledger.
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
        """How many studies are in each state."""
        with self.changing() as database:
            found = dict(database.execute("select state, count(*) from studies group by state"))
        return {state: found.get(state, 0) for state in (WAITING, PROCESSING, DONE, SET_ASIDE)}

    def entries(self, state: str, count: int) -> list[Entry]:
        """Studies of a state: the first to arrive, or of those that have ended the last to end."""
        order = "ended desc, key" if state in (DONE, SET_ASIDE) else "arrived, key"
        columns = "key, state, attempts, arrived, changed, ended, series, error"
        with self.changing() as database:
            query = f"select {columns} from studies where state = ? order by {order} limit ?"
            return [Entry(*row) for row in database.execute(query, (state, count))]


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
"""Seconds to wait for another process that changes the file."""
