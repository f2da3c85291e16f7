"""A watch of a folder: every study once, in order, whatever happens to the process, the folder or the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events

from fedmed_workflows.classification_files import ClassificationFiles
from fedmed_workflows.study_ledger import StudyLedger
from tests.watch_process import WatchProcess, attempts, errors, states, table, until
from tests.workflows.watched_studies import SLICES, answered, make_watch, run_watch, write_slice, write_study


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


KEPT = [".watch.lock", "predictions.csv", "results.csv", "status.html", "watch.sqlite"]


def all_done(out: Path, count: int) -> bool:
    return list(states(out).values()) == ["done"] * count


def test_each_study_once_in_order_and_not_again_in_a_second_start(source: Path, out: Path) -> None:
    with WatchProcess(run_watch, source, out) as watch:
        for number, name in enumerate(("z", "a", "m"), start=1):
            write_study(source / name, f"1.2.{number}")
            until(lambda: len(states(out)) == number)  # noqa: B023, called at once
        until(lambda: all_done(out, 3))
        assert watch.end(signal.SIGTERM) == 0
    assert answered(out) == ["1.2.1", "1.2.2", "1.2.3"]
    reports = [f"1.2.{number}/1.2.{number}.1_sr.dcm" for number in (1, 2, 3, 4, 5)]
    assert files_below(out) == sorted([*KEPT, "predictions.json", *reports[:3]])
    for number in (4, 5):  # of one folder
        write_study(source / "mixed", f"1.2.{number}", series=str(number))
    with WatchProcess(run_watch, source, out) as watch:
        until(lambda: all_done(out, 5))
        assert watch.end(signal.SIGINT) == 0
    assert answered(out) == [f"1.2.{number}" for number in (1, 2, 3, 4, 5)]
    assert [row["study"] for row in table(out / "results.csv")] == answered(out)
    assert "5 done" in (out / "status.html").read_text()


def test_a_study_that_arrives_slice_by_slice_is_taken_when_it_is_complete(source: Path, out: Path) -> None:
    with WatchProcess(run_watch, source, out):
        (source / "slow").mkdir()
        for number in range(6):
            path = write_slice(source / "slow", "1.2.1", number)
            whole = path.read_bytes()
            for length in (20, 300, len(whole)):  # as it grows, the header is torn, then the pixels are
                path.write_bytes(whole[:length])
                time.sleep(0.06)
        until(lambda: all_done(out, 1))
    assert answered(out) == ["1.2.1"]
    assert (row := table(out / "predictions.csv")[0])["study"] == "1.2.1" and row["prediction"] == "bright"


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


def test_bad_studies_are_set_aside_where_they_lie_and_tried_again_when_they_change(source: Path, out: Path) -> None:
    write_study(source / "gap", "1.2.1")
    (source / "gap" / "1-1.dcm").rename(source.with_name("later"))
    (source / "cut.nii.gz").write_bytes(b"\x1f\x8b cut")
    (source / "<b>.png").write_bytes(b"no picture")
    (source / "notes.txt").write_text("no image")
    write_study(source / "good", "1.2.2")
    before = files_below(source)
    with WatchProcess(run_watch, source, out) as watch:
        until(lambda: sorted(states(out).values()) == ["done", "set aside", "set aside", "set aside"])
        assert files_below(source) == before
        assert "expected evenly spaced slices" in errors(out)["1.2.1"]
        assert str(source / "cut.nii.gz") in errors(out)[str(source / "cut.nii.gz")]
        until(lambda: "3 set aside" in (out / "status.html").read_text())
        page = (out / "status.html").read_text()
        assert "&lt;b&gt;.png" in page and "<b>.png" not in page and "expected evenly spaced slices" in page
        assert "Doe" not in page and "4711" not in page and "http-equiv=\"refresh\"" in page and "://" not in page
        assert {row["study"] for row in table(out / "errors.csv")} == {"1.2.1", ""}
        source.with_name("later").rename(source / "gap" / "1-1.dcm")
        until(lambda: states(out)["1.2.1"] == "done")
        shutil.copy(source / "good" / "1-1.dcm", source / "key.dcm")  # the same slice once more
        until(lambda: "1.2.2" in errors(out))
        ended = os.stat(out / "1.2.2" / "1.2.2.1_sr.dcm").st_mtime_ns
        (source / "key.dcm").unlink()
        assert StudyLedger(out).retry("1.2.2") == 1
        until(lambda: states(out)["1.2.2"] == "done")
        assert os.stat(out / "1.2.2" / "1.2.2.1_sr.dcm").st_mtime_ns > ended
        with pytest.raises(ValueError, match="set aside, found none of the name '1.2.2'"):
            StudyLedger(out).retry("1.2.2")
        assert watch.alive
    assert len(table(out / "errors.csv")) == 2


def test_late_slices_replace_the_result_and_other_series_do_not_matter(source: Path, out: Path) -> None:
    rules = {"series": {"SeriesDescription": "T2"}}
    write_study(source / "study", "1.2.1", 0, SeriesDescription="T2")
    with WatchProcess(partial(run_watch, source, out, rules=rules)):
        until(lambda: all_done(out, 1))
        assert table(out / "predictions.csv")[0]["bright"] == "0.5"
        write_study(source / "study", "1.2.1", 9, series="2", SeriesDescription="T1")
        write_study(source / "next", "1.2.2", SeriesDescription="T2")
        until(lambda: all_done(out, 2))
        assert answered(out) == ["1.2.1", "1.2.2"]
        write_slice(source / "study", "1.2.1", SLICES, 9, SeriesDescription="T2")
        until(lambda: len(answered(out)) == 3 and all_done(out, 2))
    assert answered(out) == ["1.2.1", "1.2.2", "1.2.1"]
    assert [row["prediction"] for row in table(out / "predictions.csv")] == ["bright", "bright"]
    assert len([name for name in files_below(out) if name.endswith(".dcm")]) == 2


def test_a_second_watch_for_the_same_folder_is_refused(source: Path, out: Path) -> None:
    with WatchProcess(run_watch, source, out):
        until(lambda: (out / "status.html").exists())
        watch, evaluator = make_watch(source, out)
        with pytest.raises(ValueError, match=r"out: another process is watching for it"):
            watch.run(evaluator)


def test_a_folder_that_is_away_is_waited_for(source: Path, out: Path) -> None:
    with WatchProcess(run_watch, source, out) as watch:
        write_study(source / "a", "1.2.1")
        until(lambda: all_done(out, 1))
        source.rename(source.with_name("away"))
        until(lambda: "Waiting for" in (out / "status.html").read_text())
        source.with_name("away").rename(source)
        until(lambda: "Waiting for" not in (out / "status.html").read_text())
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
            until(lambda: (out / "status.html").exists() and "No space left" in (out / "status.html").read_text())
            time.sleep(0.5)  # several attempts, none of which counts
            assert watch.alive and "set aside" not in states(out).values() and not files_below(out / "1.2.1")
        until(lambda: all_done(out, 1))
    assert attempts(out) == {"1.2.1": 1} and not (out / "errors.csv").exists()
    assert files_below(out) == sorted([*KEPT, "1.2.1/1.2.1.1_sr.dcm"])


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


def resident_pages(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


TOLERATED_GROWTH = 8 << 20
"""Bytes between the fiftieth and the two hundredth study: less than 60 kB a study."""


def test_memory_stays_flat_over_200_studies(source: Path, out: Path) -> None:
    for number in range(200):
        write_study(source / str(number // 10), f"1.2.{number}", series=str(number + 1))
    with WatchProcess(run_watch, source, out) as watch:
        resident = []
        for count in (50, 200):
            until(lambda: sum(state == "done" for state in states(out).values()) >= count)  # noqa: B023, called at once
            resident.append(resident_pages(watch.pid) * os.sysconf("SC_PAGE_SIZE"))
        assert watch.end(signal.SIGTERM) == 0
    assert len(answered(out)) == len(set(answered(out))) == 200
    assert resident[1] - resident[0] < TOLERATED_GROWTH
