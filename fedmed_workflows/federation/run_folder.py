"""A run's folder: whose it is, what it holds of finished rounds, and how a file gets there whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fedmed_transforms.whole_file import whole_file, write_whole
from fedmed_workflows.aggregation import Aggregated
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.tensor_file import TensorFile
from fedmed_workflows.exchange.weights import FileWeights, TensorSpecs, Weights

KEPT_CHECKPOINTS = 3
"""Aggregates that stay on disk besides the last."""


TOLERATED = (".lock", "config_*.json", "mlruns*", "statistics*")
"""What a new run's folder may hold: its lock, what MONAI's tracking writes before the run starts, and the statistics of
its sites."""


class RunFolder:
    """The folder of one run, held by one process at a time.

    Used as a context manager. A new folder is marked with the run's identity (``run.json``); a folder that a run of
    the same identity left unfinished is taken up; any other is refused, unless it has no aggregate yet: a start that
    bad input ended leaves nothing to lose.

    Parameters
    ----------
    path
        ``output_dir``.
    identity
        What makes it this run and no other: settings, seeds, data, manifest.
    lock
        Name of the file that marks the process that holds the folder.

    Raises
    ------
    ValueError
        The folder belongs to another run, to a running process, or to something else; the message names what differs.
    """

    def __init__(self, path: str | Path, identity: Mapping[str, Any], lock: str = ".lock") -> None:
        self.path = Path(path)
        self.identity = json.loads(json.dumps(identity))
        self._lock = FileLock(self.path / lock)

    def __enter__(self) -> RunFolder:
        check_folder(self.path, self.identity)
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(f"output_dir {self.path}: another process is running there") from error
        if not (self.path / "checkpoints" / "last.json").is_file():
            write_whole(self.path / "run.json", json.dumps({"identity": self.identity}, indent=2))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    @property
    def history(self) -> list[dict[str, Any]]:
        """The entries of the whole rounds so far, round 0 first; none in a new run."""
        try:
            return list(json.loads((self.path / "checkpoints" / "last.json").read_text())["history"])
        except (OSError, ValueError, KeyError):  # resume says what is wrong with it
            return []

    @property
    def rounds_done(self) -> int:
        """Number of the last whole round; 0 in a new run."""
        return max(0, len(self.history) - 1)

    def resume(self, manifest: Manifest) -> tuple[Weights, list[dict[str, Any]]] | None:
        """The aggregate after the last whole round and the history up to it, or None in a new run.

        Raises
        ------
        ValueError
            The checkpoint is damaged, or does not match the manifest: other tensors, other frozen weights.
        """
        pointer = self.path / "checkpoints" / "last.json"
        if not pointer.is_file():
            return None
        try:
            last = json.loads(pointer.read_text())
            file, history, before = pointer.parent / last["file"], last["history"], last["manifest"]
        except (ValueError, KeyError) as error:
            raise ValueError(f"{pointer}: expected the record of the last round, found {error!r}") from error
        Manifest.from_json(before).check_same(manifest, f"this run, which goes on from {file},")
        try:
            weights = load_file(file)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: expected the aggregate of the last round, found: {error}") from error
        manifest.check(weights, f"checkpoint {file}")
        return weights, history

    def file(self, number: int) -> Path:
        """The file of a round's aggregate."""
        return self.path / "checkpoints" / f"round_{number:05d}.safetensors"

    def keep(self, weights: Mapping[str, torch.Tensor], number: int) -> Path:
        """Writes the aggregate of a round; the file counts once :meth:`commit` names it."""
        file = self.file(number)
        with whole_file(file) as temporary:
            if isinstance(weights, FileWeights):
                shutil.copyfile(weights.path, temporary)
            else:
                save_file({name: value.contiguous() for name, value in weights.items()}, temporary)
        return file

    def keep_aggregated(
        self, aggregated: Iterable[Aggregated], manifest: Manifest, state: TensorSpecs, number: int
    ) -> Path:
        """Writes the aggregate of a round and the aggregation's state as they are computed, tensor by tensor.

        Like :meth:`keep`; the state, if there is any, counts with the aggregate of the same number.
        """
        with ExitStack() as files:
            values = _tensor_file(files, self.file(number), manifest.tensors)
            states = _tensor_file(files, self.state_file(number), state) if state else None
            for tensor in aggregated:
                values.write(tensor.name, tensor.value)
                for name, value in tensor.state.items():
                    assert states is not None  # state has the names of the aggregation's forms
                    states.write(name, value)
        return self.file(number)

    def state_file(self, number: int) -> Path:
        """The file of an aggregation's state after a round."""
        return self.path / "checkpoints" / f"state_{number:05d}.safetensors"

    def state(self, number: int, forms: TensorSpecs) -> Mapping[str, torch.Tensor]:
        """An aggregation's state after a round, read when it is asked for; nothing before round 1.

        Raises
        ------
        ValueError
            The file is missing, damaged, or holds something else.
        """
        if not forms or number == 0:
            return {}
        file = self.state_file(number)
        try:
            found = FileWeights(file)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: expected the aggregation's state of round {number}, found: {error}") from error
        Manifest(forms, "").check(found, f"the aggregation's state {file}")
        return found

    def commit(self, history: list[dict[str, Any]], manifest: Manifest) -> None:
        """Makes the last round of a history count: from now on a run goes on after it."""
        folder = self.path / "checkpoints"
        name = self.file(history[-1]["round"]).name
        write_whole(
            folder / "last.json", json.dumps({"file": name, "history": history, "manifest": manifest.to_json()})
        )
        for kind in ("round", "state"):
            for old in sorted(folder.glob(f"{kind}_*.safetensors"))[: -KEPT_CHECKPOINTS - 1]:
                old.unlink()


def _tensor_file(files: ExitStack, path: Path, forms: TensorSpecs) -> TensorFile:
    temporary = files.enter_context(whole_file(path))
    return files.enter_context(TensorFile(files.enter_context(temporary.open("wb")), forms))


def check_place(entry: str, path: Path) -> None:
    """Refuses a folder that can't be made, as a file is in its place or above it.

    Raises
    ------
    ValueError
        The message names the entry, the folder and the file.
    """
    found = next(part for part in (path, *path.parents) if part.exists())
    if not found.is_dir():
        raise ValueError(f"{entry} {path}: expected a folder, found the file {found}")


def check_folder(path: Path, identity: Mapping[str, Any]) -> None:
    """Refuses a folder that is not this run's, before anything is written to it.

    Raises
    ------
    ValueError
        The message names the folder and the first differing settings.
    """
    marker = path / "run.json"
    begun = (path / "checkpoints" / "last.json", *path.glob("*/run.json"))
    if marker.is_file() and not any(file.is_file() for file in begun):
        return
    if not marker.is_file():
        if path.is_dir() and not all(any(entry.match(name) for name in TOLERATED) for entry in path.iterdir()):
            raise ValueError(f"output_dir {path}: expected a new or empty folder, found files that no run of this made")
        return
    try:
        found = json.loads(marker.read_text())["identity"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{marker}: expected the mark of a run, found {type(error).__name__}: {error}") from error
    differing = {key for key in {*found, *identity} if found.get(key) != identity.get(key)}
    if differing:
        listed = "; ".join(_difference(key, found.get(key), identity.get(key)) for key in sorted(differing))
        raise ValueError(f"output_dir {path} belongs to another run: {listed}")


def _difference(key: str, found: Any, expected: Any) -> str:
    """What differs, down to the entry of a dictionary."""
    if isinstance(found, dict) and isinstance(expected, dict):
        inner = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        return "; ".join(_difference(f"{key}#{name}", found.get(name), expected.get(name)) for name in inner)
    return f"{key}: found {found!r}, expected {expected!r}"
