"""Loads damaged files: ``python -m tests.transforms.loading.campaign COUNT FIRST FOLDER``.

COUNT files are shared among the kinds, and have the numbers FIRST, FIRST + 1, ... in each kind; the same numbers give
the same files. Each kind is loaded in a process of its own, where a decoder that crashes, hangs or takes memory is seen
and does no harm. FOLDER gets ``outcomes.jsonl``, a line for each file. The exit status is 1 if a file failed.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import multiprocessing
import random
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from fedmed_transforms import load_image
from tests.transforms.loading import fuzzing
from tests.transforms.loading.bombs import write_bombs
from tests.transforms.loading.fuzzed_records import RECORDS, make_record

KINDS = (*fuzzing.KINDS, *RECORDS)

BOMBS = "bombs"
"""The kind of the files that claim to be large, or inflate to be; they are the same in each campaign."""

CPU_SECONDS = 3.0
"""The most time of the processor that a damaged file may take, however busy the machine is."""

HELD = {BOMBS: 3 * 2**29}
"""Bytes by which the most memory may grow for a file made to inflate without end."""

DAMAGED_HELD = 100 * 2**20
"""Bytes by which the most memory may grow for a damaged file of some kilobytes."""

HANG_SECONDS = 600
"""Seconds after which a file counts as one that hangs, and its process ends."""


class Loaded(NamedTuple):
    """A damaged file's kind and number or name, its outcome, the CPU seconds, and by how many bytes the peak grew."""

    kind: str
    number: int | str
    outcome: str
    seconds: float = 0.0
    grown: int = 0

    @property
    def failed(self) -> bool:
        """True if the file was neither loaded nor refused by its name, or took more time or memory than it may."""
        slow = self.kind != BOMBS and self.seconds > CPU_SECONDS
        return self.outcome not in ("loaded", "refused") or slow or self.grown > HELD.get(self.kind, DAMAGED_HELD)


def make(kind: str, at: random.Random, folder: Path) -> Path:
    """Writes a damaged file of a kind into a folder; returns its path."""
    return make_record(kind, at, folder) if kind in RECORDS else fuzzing.make(kind, at, folder)


def outcome(path: Path, read: Callable[..., object] = load_image, **rules: object) -> str:
    """Reads a file; returns ``loaded``, ``refused`` for an error that names the file, else a text about the error."""
    try:
        read(path, **rules)
    except ValueError as error:
        return "refused" if str(path.parent) in str(error) else f"nameless: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


def load_apart(kind: str, numbers: list[int | str], folder: Path) -> Iterator[Loaded]:
    """Loads files in another process; where that ends early, its file has failed, and a new process loads the rest."""
    while numbers:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_load, args=[kind, numbers, folder, sender])
        process.start()
        sender.close()
        for found in _received(receiver):
            yield found
            numbers = numbers[1:]
        process.join()
        if numbers:
            yield Loaded(kind, numbers[0], f"its process ended with the status {process.exitcode}")
            numbers = numbers[1:]


def _received(receiver: Connection) -> Iterator[Loaded]:
    try:
        while True:
            yield receiver.recv()
    except EOFError:
        return


def _load(kind: str, numbers: list[int | str], folder: Path, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rules: dict[str, Any]
    for number in numbers:
        at = random.Random(f"{kind} {number}")
        if kind == BOMBS:
            path, rules = folder / str(number), {}
        elif kind in RECORDS:
            path, rules = make(kind, at, folder), {"read": RECORDS[kind].read}
        else:
            path = make(kind, at, folder)
            rules = {"series": "largest", "assume_spacing": at.choice((None, (1, 1, 1)))}
        sender.send(_measured(kind, number, path, **rules))


def _measured(kind: str, number: int | str, path: Path, **rules: object) -> Loaded:
    before, begin = _peak(), time.process_time()
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    found = outcome(path, **rules)
    faulthandler.cancel_dump_traceback_later()
    return Loaded(kind, number, found, round(time.process_time() - begin, 2), _peak() - before)


def _peak() -> int:
    """Most bytes that this process has held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def print_kind(kind: str, loaded: list[Loaded]) -> None:
    """Prints the figures of a kind, and each failure with the command that repeats it."""
    counts = Counter("failed" if found.failed else found.outcome for found in loaded)
    told = ", ".join(f"{counts[name]} {name}" for name in ("loaded", "refused", "failed"))
    seconds, grown = max(found.seconds for found in loaded), max(found.grown for found in loaded)
    print(f"{kind}: {len(loaded)} files, {told}; at most {seconds} CPU s and {grown / 2**20:.0f} MiB more", flush=True)
    for found in (found for found in loaded if found.failed):
        repeat = "" if kind == BOMBS else f"; repeat it: make fuzz COUNT={len(KINDS)} FIRST={found.number}"
        print(f"FAILED {kind} {found.number}: {found.outcome}, {found.seconds} s, {found.grown} bytes{repeat}")


def main(count: str, first: str, folder: str) -> int:
    """Loads the files of all kinds; returns the exit status."""
    warnings.simplefilter("ignore")
    logging.disable()
    place, failed = Path(folder).resolve(), 0
    numbers: dict[str, list[int | str]] = {
        kind: [int(first) + place for place in range(len(range(index, int(count), len(KINDS))))]
        for index, kind in enumerate(KINDS)
    }
    for kind in (*KINDS, BOMBS):
        (place / kind).mkdir(parents=True, exist_ok=True)
    numbers[BOMBS] = [path.name for path in write_bombs(place / BOMBS)]
    with (place / "outcomes.jsonl").open("w") as outcomes:
        for kind in filter(numbers.get, numbers):
            loaded = list(load_apart(kind, numbers[kind], place / kind))
            outcomes.writelines(json.dumps(found) + "\n" for found in loaded)
            print_kind(kind, loaded)
            failed += sum(found.failed for found in loaded)
    print(f"{failed} files failed" if failed else "no file failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
