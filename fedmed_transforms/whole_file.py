"""Writes files and folders so that a reader sees all of their content or nothing."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder with the same ending; the complete file then gets its name.

    Parameters
    ----------
    path
        The file to write. Missing folders above it are created; an older file of this name is replaced.

    Yields
    ------
    Path
        The temporary path to write. If the block ends with an error, the temporary file is removed.
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
    """Checks whether a folder is missing or empty, so that writing it destroys no file."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside the folder to write; the complete folder then gets its name.

    Parameters
    ----------
    path
        The folder to write, by one process at a time. Missing folders above it are created; an older folder of this
        name is replaced.

    Yields
    ------
    Path
        The empty temporary folder to write. If the block ends with an error, the temporary folder is removed.
    """
    temporary, old = (path.with_name(f".{path.name}.{state}") for state in ("new", "old"))
    shutil.rmtree(temporary, ignore_errors=True)  # a killed process may have left its folder
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
    """Writes a file under a temporary name, flushes and renames it: readers see all of its content or nothing."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
