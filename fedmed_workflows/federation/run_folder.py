"""The folder of a run: its identity, its lock, and the checkpoints of complete rounds. Files are written atomically."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
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
from fedmed_workflows.json_file import read_entries

RECORD = "the record of the last round"

KEPT_CHECKPOINTS = 3
"""Number of aggregates that are kept on disk, in addition to the last aggregate."""

TOLERATED = (".lock", "config_*.json", "mlruns*", "statistics*")
"""Files that a new run folder may contain: its lock, files that MONAI's tracking writes before the run starts, and
the statistics of the sites."""


class RunFolder:
    """The folder of one run. Only one process at a time can use it.

    Use the object as a context manager. A new folder gets the identity of the run (``run.json``). A folder of an
    unfinished run with the same identity is resumed. Any other folder is refused, except one without an aggregate: a
    run that ended before round 1 leaves nothing that could be lost.

    Parameters
    ----------
    path
        The folder, ``output_dir``.
    identity
        The identity of the run: settings, seed, data, manifest.
    lock
        Name of the lock file, which the process that uses the folder holds.

    Raises
    ------
    ValueError
        The folder belongs to another run, a running process uses it, or it holds other files. The message names the
        settings that differ.
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
        """The entries of the complete rounds so far, round 0 first; empty in a new run."""
        try:
            return _LastRound.read(self.path / "checkpoints" / "last.json").history
        except ValueError:  # there is none yet, or resume reports the damage
            return []

    @property
    def rounds_done(self) -> int:
        """Number of the last complete round; 0 in a new run."""
        return max(0, len(self.history) - 1)

    def resume(self, manifest: Manifest) -> tuple[Weights, list[dict[str, Any]]] | None:
        """Loads the aggregate and the history of the last complete round; returns None in a new run.

        Raises
        ------
        ValueError
            The checkpoint is damaged, or its tensors or its frozen weights do not match the manifest.
        """
        pointer = self.path / "checkpoints" / "last.json"
        if not pointer.is_file():
            return None
        last = _LastRound.read(pointer)
        file = pointer.parent / last.file
        last.manifest.check_same(manifest, f"this run, which continues from {file},")
        try:
            weights = load_file(file)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: expected the aggregate of the last round, found: {error}") from error
        manifest.check(weights, f"checkpoint {file}")
        return weights, last.history

    def file(self, number: int) -> Path:
        """Returns the path of the aggregate of a round."""
        return self.path / "checkpoints" / f"round_{number:05d}.safetensors"

    def keep(self, weights: Mapping[str, torch.Tensor], number: int) -> Path:
        """Writes the aggregate of a round. The round becomes valid when :meth:`commit` records it."""
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
        """Writes the aggregate of a round and the state of the aggregation, tensor by tensor as they are computed.

        As with :meth:`keep`, both files become valid when :meth:`commit` records the round.
        """
        with ExitStack() as files:
            values = _tensor_file(files, self.file(number), manifest.tensors)
            states = _tensor_file(files, self.state_file(number), state) if state else None
            for tensor in aggregated:
                values.write(tensor.name, tensor.value)
                for name, value in tensor.state.items():
                    assert states is not None  # state has the names of the aggregation's state_specs
                    states.write(name, value)
        return self.file(number)

    def state_file(self, number: int) -> Path:
        """Returns the path of the aggregation's state after a round."""
        return self.path / "checkpoints" / f"state_{number:05d}.safetensors"

    def state(self, number: int, specs: TensorSpecs) -> Mapping[str, torch.Tensor]:
        """Opens the aggregation's state after a round; its tensors are read on access. It is empty before round 1.

        Raises
        ------
        ValueError
            The file is missing or damaged, or its tensors do not match `specs`.
        """
        if not specs or number == 0:
            return {}
        file = self.state_file(number)
        try:
            found = FileWeights(file)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: expected the aggregation's state of round {number}, found: {error}") from error
        Manifest(specs, "").check(found, f"the aggregation's state {file}")
        return found

    def commit(self, history: list[dict[str, Any]], manifest: Manifest) -> None:
        """Records the last round of a history as complete; a resumed run continues after this round."""
        folder = self.path / "checkpoints"
        name = self.file(history[-1]["round"]).name
        write_whole(
            folder / "last.json", json.dumps({"file": name, "history": history, "manifest": manifest.to_json()})
        )
        for kind in ("round", "state"):
            for old in sorted(folder.glob(f"{kind}_*.safetensors"))[: -KEPT_CHECKPOINTS - 1]:
                old.unlink()


@dataclass(frozen=True)
class _LastRound:
    """The record of the last complete round: the name of the aggregate's file, the history, and the manifest."""

    file: str
    history: list[dict[str, Any]]
    manifest: Manifest

    @classmethod
    def read(cls, pointer: Path) -> _LastRound:
        """Reads the record of a run folder; raises a ValueError that names it where it is damaged."""
        last = read_entries(pointer, RECORD)
        try:
            history, manifest = [dict(entry) for entry in last["history"]], Manifest.from_json(last["manifest"])
            expected = f"round_{int(history[-1]['round']):05d}.safetensors"
        except Exception as error:  # of an entry that is missing, or of another kind
            raise ValueError(f"{pointer}: expected {RECORD}, found {type(error).__name__}: {error}") from error
        if last.get("file") != expected:
            raise ValueError(f"{pointer}: expected {RECORD}, in the file {expected}, found another file")
        return cls(expected, history, manifest)


def _tensor_file(files: ExitStack, path: Path, specs: TensorSpecs) -> TensorFile:
    temporary = files.enter_context(whole_file(path))
    return files.enter_context(TensorFile(files.enter_context(temporary.open("wb")), specs))


def check_place(entry: str, path: Path) -> None:
    """Refuses a folder that cannot be created because a file has its path, or the path of one of its parents.

    Raises
    ------
    ValueError
        The message names the setting, the folder and the file.
    """
    found = next(part for part in (path, *path.parents) if part.exists())
    if not found.is_dir():
        raise ValueError(f"{entry} {path}: expected a folder, found the file {found}")


def check_folder(path: Path, identity: Mapping[str, Any]) -> None:
    """Refuses a folder that belongs to another run, before anything is written to it.

    Raises
    ------
    ValueError
        The message names the folder and the settings that differ.
    """
    marker = path / "run.json"
    begun = (path / "checkpoints" / "last.json", *path.glob("*/run.json"))
    if marker.is_file() and not any(file.is_file() for file in begun):
        return
    if not marker.is_file():
        if path.is_dir() and not all(any(entry.match(name) for name in TOLERATED) for entry in path.iterdir()):
            raise ValueError(f"output_dir {path}: expected a new or empty folder, found files of another program")
        return
    found = read_entries(marker, "the mark of a run").get("identity")
    if not isinstance(found, dict):
        raise ValueError(f"{marker}: expected the mark of a run, found no entry identity with settings by name")
    differing = {key for key in {*found, *identity} if found.get(key) != identity.get(key)}
    if differing:
        listed = "; ".join(_difference(key, found.get(key), identity.get(key)) for key in sorted(differing))
        raise ValueError(f"output_dir {path} belongs to another run: {listed}")


def _difference(key: str, found: Any, expected: Any) -> str:
    """Describes the difference of two settings, for dictionaries entry by entry."""
    if isinstance(found, dict) and isinstance(expected, dict):
        inner = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        return "; ".join(_difference(f"{key}#{name}", found.get(name), expected.get(name)) for name in inner)
    return f"{key}: found {found!r}, expected {expected!r}"
