"""The SHA-256 of the engines that TensorRT keeps in a folder, compared before ONNX Runtime loads them again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedmed_networks.file_digests import SUMS, read_digests
from fedmed_networks.weights import file_digest

CACHE = "trt_engine_cache_path"
"""Option of the provider for TensorRT: the folder of its engines."""


class EngineCache:
    """Lists the engines of a folder in its file ``SHA256SUMS`` when they are built, and compares them at a start.

    Parameters
    ----------
    providers
        Execution providers of ONNX Runtime with their options. Without a folder of engines there is nothing to compare.

    Raises
    ------
    ValueError
        An engine is not listed, or has another SHA-256. The message names the file; TensorRT builds an engine that was
        removed again.
    """

    def __init__(self, providers: list[tuple[str, Any]]) -> None:
        folders = [options[CACHE] for _, options in providers if options.get(CACHE)]
        self.folder = Path(folders[0]) if folders else None
        self._written: tuple[Any, ...] = ()
        self._check()

    def record(self) -> None:
        """Lists the engines, if one was built or changed by this process."""
        written = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in self._engines())
        if self.folder is None or written == self._written:
            return
        lines = "".join(f"{file_digest(file)}  {file.name}\n" for file in self._engines())
        temporary = self.folder / f".{SUMS}"
        temporary.write_text(lines, "utf-8")
        os.replace(temporary, self.folder / SUMS)
        self._written = written

    def _check(self) -> None:
        sums = None if self.folder is None else self.folder / SUMS
        expected = read_digests(sums) if sums is not None and sums.is_file() else {}
        for file in self._engines():
            found = file_digest(file)
            if found != expected.get(file.name, "").lower():
                raise ValueError(
                    f"{file}: found the SHA-256 {found}, expected {expected.get(file.name, 'none')} as in {sums}: "
                    "the engine is damaged or of another program; remove it, and TensorRT builds it again"
                )

    def _engines(self) -> Iterator[Path]:
        if self.folder is not None and self.folder.is_dir():
            yield from sorted(file for file in self.folder.iterdir() if file.is_file() and not file.name.endswith(SUMS))
