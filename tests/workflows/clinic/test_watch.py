"""A watch of a folder: every study once, in order, when it is complete, and again when it changes."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pydicom
import pytest

from fedmed_workflows.clinic.watch.ledger import StudyLedger
from tests.waiting import until
from tests.watch_process import WatchProcess, errors, page, states, table
from tests.workflows.clinic.watched_studies import (
    KEPT,
    SLICES,
    all_done,
    answered,
    files_below,
    make_watch,
    run_watch,
    write_slice,
    write_study,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


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


def test_a_study_that_arrives_slice_by_slice_is_taken_when_it_is_complete(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.workflows.clinic.watched_studies.SETTLE", 2.0)  # on a busy machine a write may take long
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
        until(lambda: "3 set aside" in page(out))
        shown = page(out)
        assert "&lt;b&gt;.png" in shown and "<b>.png" not in shown and "expected evenly spaced slices" in shown
        assert "Doe" not in shown and "4711" not in shown and "http-equiv=\"refresh\"" in shown and "://" not in shown
        assert {row["study"] for row in table(out / "errors.csv")} == {"1.2.1", ""}
        source.with_name("later").rename(source / "gap" / "1-1.dcm")
        until(lambda: states(out).get("1.2.1") == "done")
        changed = pydicom.dcmread(source / "good" / "1-1.dcm")  # the same slice once more, with other content
        changed.PixelData = bytes(len(changed.PixelData))
        changed.save_as(source / "key.dcm")
        until(lambda: "1.2.2" in errors(out))
        ended = os.stat(out / "1.2.2" / "1.2.2.1_sr.dcm").st_mtime_ns
        (source / "key.dcm").unlink()
        assert StudyLedger(out).retry("1.2.2") == 1
        until(lambda: states(out).get("1.2.2") == "done")
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
