"""Tables of results as CSV files: each row is on the disk at once, and later runs add to them."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fedmed_transforms.whole_file import write_whole


class ResultTable:
    """Keeps rows in a CSV file by their key columns; a new row replaces the row with the same keys.

    A row is on the disk when :meth:`put` returns. If the disk is full, the row is not written and can be put again. The
    table continues the file of an earlier run; a last row that a killed process wrote only in part is dropped.

    Parameters
    ----------
    path
        The file; the first row creates it.
    columns
        Names of the columns.
    keys
        Number of key columns; they are the first ones.

    Raises
    ------
    ValueError
        The file exists and has other columns; the message names it.
    """

    def __init__(self, path: Path, columns: Sequence[str], keys: int) -> None:
        self.path, self.columns, self.keys = path, list(columns), keys
        rows, torn = self._read()
        self._rows = {self._key(row): row for row in rows}
        if torn:
            self._rewrite(self._rows)

    @property
    def rows(self) -> list[list[str]]:
        """All rows, oldest first."""
        return list(self._rows.values())

    def put(self, row: Sequence[object]) -> None:
        """Adds a row, or replaces the row with the same keys."""
        cells = [str(cell) for cell in row]
        key = self._key(cells)
        known = self._rows.get(key)
        if known is None and self.path.is_file():
            self._append(cells)
        elif known != cells:
            self._rewrite({**self._rows, key: cells})
        self._rows[key] = cells

    def drop(self, *keys: str) -> None:
        """Removes the row with these keys, if there is one; the file is removed with its last row."""
        if keys not in self._rows:
            return
        left = {key: row for key, row in self._rows.items() if key != keys}
        if left:
            self._rewrite(left)
        else:
            self.path.unlink(missing_ok=True)
        self._rows = left

    def _key(self, cells: Sequence[str]) -> tuple[str, ...]:
        return tuple(cells[: self.keys])

    def _read(self) -> tuple[list[list[str]], bool]:
        """Returns the complete rows, and whether a part of a row follows them."""
        if not self.path.is_file():
            return [], False
        text = self.path.read_bytes().decode()
        header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
        if header != self.columns:
            raise ValueError(f"{self.path}: expected a table of {self.columns}, found one of {header}")
        return (rows, False) if text.endswith("\r\n") else (rows[:-1], True)

    def _append(self, cells: Sequence[str]) -> None:
        with self.path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                line = _lines([cells]).encode()
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(file.fileno())
            except OSError:  # a full disk: the row is written again when there is space
                file.truncate(end)
                raise

    def _rewrite(self, rows: Mapping[tuple[str, ...], Sequence[str]]) -> None:
        write_whole(self.path, _lines([self.columns, *rows.values()]))


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
