"""A watch whose process is killed, whose disk is full, whose folder is away: nothing is lost or done twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events

from fedmed_workflows.clinic.classification_files import ClassificationFiles
from tests.waiting import until
from tests.watch_process import WatchProcess, attempts, errors, page, states, table
from tests.workflows.clinic.watched_studies import (
    KEPT,
    all_done,
    answered,
    files_below,
    make_watch,
    run_watch,
    write_study,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class KilledBefore(ClassificationFiles):
    """Ends the process when a study's files are to be written, if a file says so."""

    def write(self, item: Any, outputs: list[Path]) -> None:
        die(self.output_dir, "before")
        super().write(item, outputs)
        die(self.output_dir, "between")


def die(out: Path, moment: str) -> None:
    """Once."""
    marker = out.with_name(moment)
    if marker.exists():
        marker.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def run_dying(source: Path, out: Path) -> None:
    watch, evaluator = make_watch(source, out, results=KilledBefore)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda: die(out, "after"))
    watch.run(evaluator)


@pytest.mark.parametrize("moment", ["before", "between", "after", "network"])
def test_killed_at_any_moment_nothing_is_lost_or_done_twice(source: Path, out: Path, moment: str) -> None:
    """Before its files, between them and their table, after the table and before the ledger; or in the network."""
    for number in (1, 2, 3):
        write_study(source / str(number), f"1.2.{number}", 77 if number == 2 else 1)
    out.with_name("gate").touch()
    with WatchProcess(run_dying, source, out) as watch:
        until(lambda: states(out).get("1.2.2") == "processing")
        if moment == "network":
            watch.end(signal.SIGKILL)
        else:
            out.with_name(moment).touch()
            out.with_name("gate").unlink()
            assert watch.wait() == -signal.SIGKILL
    assert list(states(out).values()) == ["done", "processing", "waiting"]
    out.with_name("gate").unlink(missing_ok=True)
    with WatchProcess(run_dying, source, out) as watch:
        until(lambda: all_done(out, 3))
        assert watch.end(signal.SIGTERM) == 0
    assert attempts(out) == {"1.2.1": 1, "1.2.2": 2, "1.2.3": 1}
    assert [row["study"] for row in table(out / "results.csv")] == ["1.2.1", "1.2.2", "1.2.3"]
    reports = [f"1.2.{number}/1.2.{number}.1_sr.dcm" for number in (1, 2, 3)]
    assert [name for name in files_below(out) if name.endswith(".dcm")] == reports
    assert ".unfinished.csv" not in files_below(out)
    assert not {"1.2.1", "1.2.3"} & {study for study in answered(out) if answered(out).count(study) > 1}


def test_a_study_that_ends_the_process_each_time_is_set_aside(source: Path, out: Path) -> None:
    write_study(source / "fatal", "1.2.1", 66)
    write_study(source / "good", "1.2.2")
    for _ in range(3):
        with WatchProcess(run_watch, source, out) as watch:
            assert watch.wait() == -signal.SIGKILL
        assert states(out) == {"1.2.1": "processing", "1.2.2": "waiting"}
    with WatchProcess(run_watch, source, out):
        until(lambda: states(out) == {"1.2.1": "set aside", "1.2.2": "done"})
    assert "the process ended 3 times while the study was in hand" in errors(out)["1.2.1"]


def test_a_folder_that_is_away_is_waited_for(source: Path, out: Path) -> None:
    with WatchProcess(run_watch, source, out) as watch:
        write_study(source / "a", "1.2.1")
        until(lambda: all_done(out, 1))
        source.rename(source.with_name("away"))
        until(lambda: "Waiting for" in page(out))
        source.with_name("away").rename(source)
        until(lambda: "Waiting for" not in page(out))
        out.rename(out.with_name("gone"))
        write_study(source / "b", "1.2.2")
        time.sleep(0.6)
        assert watch.alive and not out.exists()
        out.with_name("gone").rename(out)
        until(lambda: all_done(out, 2))
        assert watch.end(signal.SIGTERM) == 0
    assert answered(out) == ["1.2.1", "1.2.2"]


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(512)):
            pass


def test_a_full_disk_is_waited_for(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "disk" / "out"
    with small_disk(tmp_path / "disk", "512k"), WatchProcess(run_watch, source, out) as watch:
        write_study(source / "a", "1.2.1")
        until(lambda: all_done(out, 1))
        fill(tmp_path / "disk" / "filler")
        for number in (2, 3):
            write_study(source / str(number), f"1.2.{number}")
        time.sleep(1.2)
        assert watch.alive and not {"1.2.2", "1.2.3"} & {key for key, state in states(out).items() if state == "done"}
        assert "set aside" not in states(out).values()
        (tmp_path / "disk" / "filler").unlink()
        until(lambda: all_done(out, 3))
        assert watch.end(signal.SIGTERM) == 0
        assert [row["study"] for row in table(out / "results.csv")] == ["1.2.1", "1.2.2", "1.2.3"]
        assert attempts(out) == {"1.2.1": 1, "1.2.2": 1, "1.2.3": 1} and not (out / "errors.csv").exists()


def test_results_that_no_room_is_left_for_are_written_when_there_is(source: Path, out: Path) -> None:
    """The ledger has room, the results have not: a disk of less than a report's size lies where they go."""
    write_study(source / "a", "1.2.1")
    with WatchProcess(run_watch, source, out) as watch:
        with small_disk(out / "1.2.1", "4k"):
            until(lambda: "No space left" in page(out))
            time.sleep(0.5)  # several attempts, none of which counts
            assert watch.alive and "set aside" not in states(out).values() and not files_below(out / "1.2.1")
        until(lambda: all_done(out, 1))
        assert watch.end(signal.SIGTERM) == 0
    assert attempts(out) == {"1.2.1": 1} and not (out / "errors.csv").exists()
    assert files_below(out) == sorted([*KEPT, "predictions.json", "1.2.1/1.2.1.1_sr.dcm"])


def fail(source: Path, out: Path) -> None:
    watch, evaluator = make_watch(source, out)

    def forward(image: torch.Tensor) -> torch.Tensor:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    evaluator.network.forward = forward
    watch.run(evaluator)


def test_a_gpu_that_has_failed_ends_the_process_and_refuses_nothing(source: Path, out: Path) -> None:
    write_study(source / "a", "1.2.1")
    with WatchProcess(fail, source, out) as watch:
        assert watch.wait() == 1
    assert states(out) == {"1.2.1": "processing"} and not (out / "errors.csv").exists()
