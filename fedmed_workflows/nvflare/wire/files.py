"""Files that sites fetch from the server, in pieces, each at its own pace: nobody holds them in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvflare.fuel.f3.streaming.file_downloader import add_file, download_file
from nvflare.fuel.f3.streaming.obj_downloader import ObjectDownloader

from fedmed_workflows.errors import SiteError

SOURCE = "source"
"""Name of the value in a task that says where its file is fetched."""

PIECE_BYTES, PIECE_BYTES_TO_MANY = 8 << 20, 2 << 20
"""How much of a file travels at a time. What is under way to all sites at once lies in the server's memory; for every
piece that it receives itself, NVFlare keeps a thread for a minute."""

IDLE_SECONDS = 86400.0
"""How long a file is kept for fetching while nobody fetches it; a task that ends takes it back before."""

PIECE_SECONDS = 60.0
"""How long a site waits for one piece before it asks for it again."""


@contextmanager
def served(cell: Any, path: Path | None, to_many: bool = False) -> Iterator[dict[str, Any]]:
    """Offers a file to the sites of a task; yields the value that tells them where, or nothing without a file.

    Parameters
    ----------
    cell
        NVFlare's end of the connection.
    path
        The file; it stays as it is until the block ends.
    to_many
        Whether many fetch it side by side: in smaller pieces.
    """
    if path is None:
        yield {}
        return
    piece_bytes = PIECE_BYTES_TO_MANY if to_many else PIECE_BYTES
    downloader = ObjectDownloader(cell=cell, timeout=IDLE_SECONDS, num_receivers=0)
    try:
        yield {SOURCE: {"host": cell.get_fqcn(), "file": add_file(downloader, str(path), piece_bytes)}}
    finally:
        downloader.delete_transaction()


def fetched(cell: Any, source: Mapping[str, str], folder: Path, abort_signal: Any) -> Path:
    """Fetches a task's file.

    Parameters
    ----------
    cell
        NVFlare's end of the connection.
    source
        What :func:`served` told.
    folder
        Where the file goes.
    abort_signal
        Ends it when the job is aborted.

    Raises
    ------
    SiteError
        The connection was lost for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    error, path = download_file(
        from_fqcn=source["host"], ref_id=source["file"], per_request_timeout=PIECE_SECONDS, cell=cell,
        location=str(folder), abort_signal=abort_signal,
    )  # fmt: skip
    if error or path is None:
        if path is not None:
            Path(path).unlink(missing_ok=True)
        raise SiteError(f"the aggregate could not be fetched: {error}")
    return Path(path)
