"""pydicom's warnings and log records are kept from being heard while files are read: they repeat what stands in them.

A damaged length or tag makes a patient's name part of any element, and pydicom warns of an odd element by quoting it.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

IGNORED = "pydicom"
_lock = threading.Lock()
_here = threading.local()
_readers = 0
_entry: Any = None


def _outside(record: logging.LogRecord) -> bool:
    """Whether a record comes from a thread that reads nothing for this package."""
    return not getattr(_here, "depth", 0)


logging.getLogger(IGNORED).addFilter(_outside)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences pydicom's log records of this thread, and its warnings while any thread is inside."""
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
            warnings.filterwarnings("ignore", module=IGNORED)
            _entry = warnings.filters[0]
        elif _readers == 0:
            with suppress(ValueError):  # someone else has replaced the filters
                warnings.filters.remove(_entry)  # type: ignore[attr-defined]
