"""Memory of large tensors goes back to the system when they are freed, where a process holds few of them at a time."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import time

logger = logging.getLogger(__name__)

MMAP_THRESHOLD, LARGE = -3, 1 << 20
ARENA_MAX, ARENAS = -8, 2
"""Parameters of the GNU C library's mallopt, and their values: what is larger than a megabyte is mapped by itself."""

COLLECTING_SECONDS = 0.2
"""How often cycles of objects are looked for."""


def return_freed_memory() -> None:
    """Has the C library return what is freed, instead of keeping it for tensors to come.

    By default it raises the size that is mapped by itself with every large tensor that is freed; the tensors of an
    aggregate then lie between gaps that are never returned, and the process holds twice what it uses. Other C libraries
    than GNU's have no such setting, and are left as they are.

    What NVFlare has sent or received lies in cycles of objects. Python looks for those by the number of new objects,
    not by their size: here by the clock, and what has been imported so far is passed over, so that it takes
    milliseconds.
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
