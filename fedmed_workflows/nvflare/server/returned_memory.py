"""Returns the memory of freed tensors to the operating system, for processes that hold few large tensors at a time."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import time

logger = logging.getLogger(__name__)

MMAP_THRESHOLD, LARGE = -3, 1 << 20
ARENA_MAX, ARENAS = -8, 2
"""Parameters of mallopt in the GNU C library, with their values: blocks above one megabyte are mapped separately."""

COLLECTING_SECONDS = 0.2
"""Seconds between two searches for reference cycles."""


def return_freed_memory() -> None:
    """Configures the C library to return freed memory to the operating system, and collects garbage regularly.

    By default, the GNU C library raises the mapping threshold with every large block that is freed. The tensors of an
    aggregate are then placed between gaps that are never returned, and the process holds twice the memory that it uses.
    Other C libraries do not have this setting and are not changed.

    Objects that NVFlare has sent or received are in reference cycles. Python searches for cycles after a number of new
    objects, independent of their size. Here a thread searches at fixed intervals. The search skips all objects that
    exist now, so that it takes milliseconds.
    """
    gc.freeze()
    threading.Thread(target=_collect, name="collect", daemon=True).start()
    try:
        library = ctypes.CDLL(None)
        done = [library.mallopt(MMAP_THRESHOLD, LARGE), library.mallopt(ARENA_MAX, ARENAS)]
    except (OSError, AttributeError, TypeError) as error:
        logger.debug("freed memory is kept: %s", error)
        return
    logger.debug("mallopt: %s", done)


def _collect() -> None:
    while True:
        time.sleep(COLLECTING_SECONDS)
        gc.collect()
