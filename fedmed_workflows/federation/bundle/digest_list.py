"""Writes the list of SHA-256 of a bundle's files, and keeps it when training writes the network again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ignite.engine import Engine
from monai.handlers import CheckpointSaver

from fedmed_networks.file_digests import SUMS, read_digests
from fedmed_networks.weights import file_digest
from fedmed_transforms.whole_file import write_whole


def write_digests(folder: Path, files: Iterable[Path]) -> Path:
    """Writes the list of a folder, with the SHA-256 of files in the folder or beside it."""
    return _write(folder / SUMS, {Path(os.path.relpath(file, folder)).as_posix(): file_digest(file) for file in files})


def update_digest(file: Path) -> None:
    """Lists the SHA-256 of a file that was written again, if the folder of the file has a list."""
    sums = file.parent / SUMS
    if sums.is_file() and file.is_file():
        _write(sums, {**read_digests(sums), file.name: file_digest(file)})


class DigestCheckpointSaver(CheckpointSaver):
    """MONAI's CheckpointSaver; it also lists the SHA-256 of the best network, where the folder has ``SHA256SUMS``.

    A trained bundle has this list. Without the new digest its inference would refuse the network that was trained
    further.
    """

    def metrics_completed(self, engine: Engine) -> None:
        """Saves the network if its metric is the best one, and lists its digest."""
        super().metrics_completed(engine)
        for file in Path(self.save_dir).glob("*.pt"):
            update_digest(file)


def _write(sums: Path, digests: Mapping[str, str]) -> Path:
    write_whole(sums, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
    return sums
