"""Silences the logs and warnings of pydicom, highdicom and tifffile, which quote header values.

These packages warn of an unusual value or log it. The text of an error holds the value that caused it.
"""

from __future__ import annotations

import logging
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedmed_transforms.dicom.damage import Damaged

QUOTING = ("pydicom", "highdicom", "tifffile")
"""Packages that quote header values."""

_lock = threading.Lock()
_here = threading.local()
_readers = 0
_entry: Any = None


def _outside(record: logging.LogRecord) -> bool:
    """Checks whether a record comes from a thread that reads nothing for this package."""
    return not getattr(_here, "depth", 0)


for _name in QUOTING:
    logging.getLogger(_name).addFilter(_outside)


@contextmanager
def silenced_parsers() -> Iterator[None]:
    """Silences the parsers' log records of this thread, and their warnings while any thread is inside."""
    _count(1)
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
        _count(-1)


def _count(change: int) -> None:
    """Adds the filter of warnings with the first reader and removes it with the last.

    ``warnings.catch_warnings`` would restore what another thread had changed meanwhile.
    """
    global _readers, _entry
    with _lock:
        _readers += change
        if (change, _readers) == (1, 1):
            warnings.filterwarnings("ignore", module="|".join(QUOTING))
            _entry = warnings.filters[0]
        elif _readers == 0:
            with suppress(ValueError):  # someone else has replaced the filters
                warnings.filters.remove(_entry)  # type: ignore[attr-defined]


@contextmanager
def without_parser_texts(source: str | Path, expected: str) -> Iterator[None]:
    """Silences the parsers, and replaces the texts of errors in the block.

    Parameters
    ----------
    source
        The file whose header is read or copied.
    expected
        The expected content, to end the sentence "expected ...".

    Raises
    ------
    ValueError
        In place of any error in the block. The message names the file, and the kind and the place of the error; of
        :class:`Damaged` it keeps the text.
    """
    try:
        with silenced_parsers():
            yield
    except Damaged as error:
        raise ValueError(f"{source}: expected {expected}, found {error}") from None
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}, line {last.lineno}"
        raise ValueError(f"{source}: expected {expected}, found {type(error).__name__} in {place}") from None
