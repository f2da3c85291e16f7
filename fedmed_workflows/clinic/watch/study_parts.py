"""The parts of studies in the ledger: a new or changed part changes the state of its study."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from fedmed_workflows.clinic.watch.ledger import DONE, WAITING, LedgerFile


@dataclass(frozen=True)
class Part:
    """A file of a study in a folder, or a series of a study on a server.

    Attributes
    ----------
    place, name
        Folder and name of the file, or address of the server and UID of the series.
    version
        Text that differs after a change of the part.
    key
        Key of its study: the StudyInstanceUID, or the path without one. Empty for a file that is no image.
    series
        The SeriesInstanceUID, or empty.
    damaged
        Whether the part is a DICOM file that cannot be read, and may belong to a study beside it.
    """

    place: str
    name: str
    version: str
    key: str
    series: str = ""
    damaged: bool = False


class StudyParts(LedgerFile):
    """Records the parts of the studies of a watch.

    Parameters
    ----------
    output_dir
        Folder of the ledger.
    """

    def versions(self, place: str) -> dict[str, str]:
        """Returns the versions of the parts at a place, by name."""
        with self.changing() as database:
            return dict(database.execute("select name, version from parts where place = ?", (place,)))

    def parts(self, key: str) -> list[Part]:
        """Returns the parts of a study, in the order of their names."""
        return self._parts("key = ?", key)

    def unassigned(self, place: str) -> list[Part]:
        """Returns the files at a place that may belong to any study there: damaged DICOM files, and other files."""
        return self._parts("place = ? and (damaged or key = '')", place)

    def _parts(self, condition: str, value: str) -> list[Part]:
        columns = "place, name, version, key, series, damaged"
        with self.changing() as database:
            rows = database.execute(f"select {columns} from parts where {condition} order by place, name", (value,))
            return [Part(*row) for row in rows]

    def see(self, parts: Iterable[Part]) -> list[str]:
        """Records new and changed parts, all parts of a call or none.

        A new study waits from now on. A study that is done waits again if the part belongs to the selected series, and
        a study that was set aside waits again after any change.

        Returns
        -------
        list
            Keys of the studies that were done and wait again.
        """
        again = set()
        with self.changing() as database:
            for part in parts:
                again.update(_see(database, part))
        return sorted(again)

    def mark_missing(self, parts: Iterable[Part]) -> None:
        """Removes parts that are gone from waiting studies; a study is removed with its last part."""
        with self.changing() as database:
            for part in parts:
                database.execute("delete from parts where place = ? and name = ?", (part.place, part.name))
                database.execute("update studies set changed = ? where key = ?", (time.time(), part.key))
                _forget(database, part.key)


def _see(database: sqlite3.Connection, part: Part) -> list[str]:
    known = database.execute("select version, key from parts where place = ? and name = ?", (part.place, part.name))
    version, before = known.fetchone() or ("", "")
    if (version, before) == (part.version, part.key):
        return []
    database.execute(
        "insert or replace into parts values (?, ?, ?, ?, ?, ?)",
        (part.place, part.name, part.version, part.key, part.series, part.damaged),
    )
    if before and before != part.key:
        _forget(database, before)
    return _change(database, part) if part.key else []


def _change(database: sqlite3.Connection, part: Part) -> list[str]:
    now = time.time()
    known = database.execute("select state, series from studies where key = ?", (part.key,))
    state, taken = known.fetchone() or ("", "")
    if not state:
        database.execute(
            "insert into studies (key, state, arrived, changed) values (?, ?, ?, ?)", (part.key, WAITING, now, now)
        )
    elif state != DONE or part.series == taken:
        database.execute(
            "update studies set state = ?, attempts = 0, error = '', changed = ?, arrived = iif(state = ?, arrived, ?)"
            " where key = ?",
            (WAITING, now, WAITING, now, part.key),
        )
        return [part.key] if state == DONE else []
    return []


def _forget(database: sqlite3.Connection, key: str) -> None:
    """Removes a study that has no part left, unless it is done."""
    database.execute(
        "delete from studies where key = ? and state != ? and not exists (select 1 from parts where key = studies.key)",
        (key, DONE),
    )
