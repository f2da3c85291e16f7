"""A folder that one process holds with a lock, and that must not be replaced meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from filelock import FileLock

LOCK = ".watch.lock"


class HeldFolder:
    """Creates a folder if it is missing, and holds it with a lock; a context manager.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    filelock.Timeout
        Another process holds the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / LOCK)
        self._device, self._number = 0, 0

    def __enter__(self) -> HeldFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(timeout=0)
        self._device, self._number = self._place()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def check(self) -> None:
        """Refuses a folder that was removed or replaced.

        Raises
        ------
        OSError
            The folder is gone, or another folder has its path.
        """
        try:
            if self._place() == (self._device, self._number):
                return
        except FileNotFoundError:
            pass
        raise OSError(f"output_dir {self.path}: the folder is gone, or is another one; it has to come back")

    def _place(self) -> tuple[int, int]:
        stat = os.stat(self.path / LOCK)
        return stat.st_dev, stat.st_ino
