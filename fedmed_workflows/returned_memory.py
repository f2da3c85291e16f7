"""Memory of large tensors goes back to the system when they are freed, where a process holds few of them at a time."""

from __future__ import annotations

import ctypes
import gc
import logging

logger = logging.getLogger(__name__)

MMAP_THRESHOLD, LARGE = -3, 1 << 20
ARENA_MAX, ARENAS = -8, 2
"""Parameters of the GNU C library's mallopt, and their values: what is larger than a megabyte is mapped by itself."""


def return_freed_memory() -> None:
    """Has the C library return what is freed, instead of keeping it for tensors to come.

    By default it raises the size that is mapped by itself with every large tensor that is freed; the tensors of an
    aggregate then lie between gaps that are never returned, and the process holds twice what it uses. Other C libraries
    than GNU's have no such setting, and are left as they are. What has been imported so far is kept for good, so that
    collecting garbage takes milliseconds.
    """
    gc.freeze()
    try:
        library = ctypes.CDLL(None)
        done = [library.mallopt(MMAP_THRESHOLD, LARGE), library.mallopt(ARENA_MAX, ARENAS)]
    except (OSError, AttributeError, TypeError) as error:
        logger.debug("freed memory is kept: %s", error)
        return
    logger.debug("mallopt: %s", done)
