"""Folders that readers see whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside it that takes the folder's name once it is filled.

    Parameters
    ----------
    folder
        Missing or empty. Folders above it are made.

    Yields
    ------
    Path
        The folder to fill. If the block ends with an error, it is removed with what was written there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
        whole = Path(unfinished) / folder.name
        whole.mkdir()
        yield whole
        whole.replace(folder)
