"""A folder that one process holds, and that has to stay where it is."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from filelock import FileLock

LOCK = ".watch.lock"


class HeldFolder:
    """A folder, made where there is none, with a lock in it.

    Used as a context manager.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    filelock.Timeout
        Another process holds it.
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
        """Looks whether it is the same folder still.

        Raises
        ------
        OSError
            It has gone, or another one has taken its place.
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
