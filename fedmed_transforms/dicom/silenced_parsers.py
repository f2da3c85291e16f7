"""Headers are read and copied without a word of what they say: pydicom and highdicom quote values, perhaps a patient's.

Both warn of a strange value, pydicom also logs it, and an error's text holds the value that caused it.
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

QUOTING = ("pydicom", "highdicom")
"""Packages that repeat what they read."""

_lock = threading.Lock()
_here = threading.local()
_readers = 0
_entry: Any = None


def _outside(record: logging.LogRecord) -> bool:
    """Whether a record comes from a thread that reads nothing for this package."""
    return not getattr(_here, "depth", 0)


for _name in QUOTING:
    logging.getLogger(_name).addFilter(_outside)


@contextmanager
def silenced_parsers() -> Iterator[None]:
    """Silences their log records of this thread, and their warnings while any thread is inside."""
    _count(1)
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
        _count(-1)


def _count(change: int) -> None:
    """Puts the filter of warnings in with the first reader and takes it out with the last.

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
    """Keeps back also the texts of a block's errors.

    Parameters
    ----------
    source
        The file whose header is read or copied.
    expected
        What it should have been, to end the sentence "expected ...".

    Raises
    ------
    ValueError
        Instead of any error in the block; the message names the file, and the kind and the place of the error.
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
