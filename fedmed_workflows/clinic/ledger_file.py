"""The SQLite file in which a watch keeps what it knows of its studies and their parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
"""Seconds to wait for another process that changes the file."""


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
