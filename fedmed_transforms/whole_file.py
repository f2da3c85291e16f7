"""Files and folders that readers see whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder, with the same ending, that takes the file's name once it is written.

    Parameters
    ----------
    path
        The file to write. Folders above it are made; an older file of this name is replaced.

    Yields
    ------
    Path
        Where to write. If the block ends with an error, what was written there is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}{path.name[-8:]}")  # the ending tells writers the format
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_new_or_empty(folder: Path) -> bool:
    """Whether nothing would be lost by writing a folder of this name."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder of a temporary name beside the place of another that takes its name once it is written.

    Parameters
    ----------
    path
        The folder to write, by one process at a time. Folders above it are made; an older folder of this name is
        replaced.

    Yields
    ------
    Path
        Where to write: an empty folder. If the block ends with an error, what was written there is removed.
    """
    temporary, old = (path.with_name(f".{path.name}.{state}") for state in ("new", "old"))
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file under a temporary name, flushes it, and renames it: readers see all of it or nothing."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
