"""Files that readers see whole or not at all."""

from __future__ import annotations

import os
import secrets
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
