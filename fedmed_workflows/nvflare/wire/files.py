"""Transfers files between server and sites in pieces, so that no process holds a whole file in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvflare.fuel.f3.streaming.file_downloader import add_file, download_file
from nvflare.fuel.f3.streaming.obj_downloader import ObjectDownloader

from fedmed_workflows.errors import SiteError

SOURCE = "source"
"""Name of the value in a message that tells the receiver where to fetch the file."""

PIECE_BYTES, PIECE_BYTES_TO_MANY = 8 << 20, 2 << 20
"""Bytes of a piece, to one receiver and to many. The pieces for all sites are in the server's memory at the same time.
For every piece that a process receives, NVFlare keeps a thread for a minute."""

IDLE_SECONDS = 86400.0
"""Seconds after which an offered file expires if it is not fetched. The end of the task withdraws it earlier."""

PIECE_SECONDS = 60.0
"""Seconds that a receiver waits for one piece before it requests the piece again."""


@contextmanager
def serve_file(cell: Any, path: Path | None, to_many: bool = False) -> Iterator[dict[str, Any]]:
    """Offers a file for fetching; yields the value that tells receivers where to fetch, or nothing without a file.

    Parameters
    ----------
    cell
        NVFlare's end of the connection.
    path
        Path of the file, which must not change until the block ends; None for no file.
    to_many
        Whether many receivers fetch the file in parallel, in smaller pieces.
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


def fetch_file(cell: Any, source: Mapping[str, str], folder: Path, abort_signal: Any) -> Path:
    """Fetches an offered file; returns its path.

    Parameters
    ----------
    cell
        NVFlare's end of the connection.
    source
        The value that :func:`serve_file` yields under :data:`SOURCE`.
    folder
        Folder for the file.
    abort_signal
        Signal that ends the transfer when the job is aborted.

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
