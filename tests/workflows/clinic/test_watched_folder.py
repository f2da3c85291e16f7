"""Tests a watch's view of a folder: each header is read once; unusual files; files that have gone."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from fedmed_workflows.clinic.watch.folder import WatchedFolder
from fedmed_workflows.clinic.watch.ledger import StudyLedger
from tests.watch_process import states
from tests.workflows.clinic.watched_studies import write_slice, write_study


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    StudyLedger(tmp_path / "out").make()
    return tmp_path / "out"


@pytest.fixture
def folder(source: Path, out: Path) -> WatchedFolder:
    return WatchedFolder(str(source), str(out))


def garble(path: Path) -> None:
    """Another content, which neither the size nor the time tells of: who reads it again finds no DICOM."""
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_header_is_read_once(folder: WatchedFolder, source: Path, out: Path) -> None:
    for path in write_study(source / "a", "1.2.1").iterdir():
        assert folder.look() == []
        garble(path)
    write_slice(source / "a", "1.2.1", 9)
    for again in (folder, WatchedFolder(str(source), str(out))):
        assert again.look() == [] and states(out) == {"1.2.1": "waiting"}
    os.utime(source / "a" / "1-0.dcm")
    folder.look()
    assert set(states(out)) == {"1.2.1", str(source / "a" / "1-0.dcm")}


def test_a_name_is_one_that_no_other_study_can_have(folder: WatchedFolder, source: Path) -> None:
    write_study(source / "mixed", "1.2.1")
    write_study(source / "mixed", "1.2.2", series="2")
    (source / "mixed" / "a.nii.gz").write_bytes(b"")
    (source / "a.png").write_bytes(b"")
    folder.look()
    keys = ("1.2.1", "1.2.2", str(source / "mixed" / "a.nii.gz"), str(source / "a.png"))
    items = [item for key in keys if (item := folder.item(key)) is not None]
    assert [item["name"] for item in items] == ["1.2.1/1.2.1.1", "1.2.2/1.2.2.2", "mixed/a.nii.gz", "a.png"]
    assert [item["path"] for item in items[:2]] == [str(source / "mixed")] * 2 and len(items[0]["image"]) == 4


def test_a_damaged_file_beside_a_study_refuses_it(folder: WatchedFolder, source: Path, out: Path) -> None:
    write_study(source / "a", "1.2.1")
    torn = source / "a" / "torn.dcm"
    torn.write_bytes((source / "a" / "1-3.dcm").read_bytes()[:200])
    folder.look()
    assert set(states(out)) == {"1.2.1", str(torn)}
    for key, said in (("1.2.1", "found a damaged file beside them"), (str(torn), "torn.dcm")):
        item = folder.item(key)
        assert item is not None and said in item["error"]
    torn.write_bytes((source / "a" / "1-3.dcm").read_bytes())
    folder.look()
    assert set(states(out)) == {"1.2.1"}


def test_files_that_change_or_go_before_they_are_taken(folder: WatchedFolder, source: Path, out: Path) -> None:
    path = write_study(source / "a", "1.2.1") / "1-0.dcm"
    folder.look()
    os.utime(path)
    assert folder.item("1.2.1") is None and states(out) == {"1.2.1": "waiting"}
    folder.look()
    assert folder.item("1.2.1") is not None
    whole = path.read_bytes(), path.stat()
    path.unlink()
    assert folder.item("1.2.1") is None
    item = folder.item("1.2.1")
    assert item is not None and len(item["image"]) == 3
    (source / "a").rename(source / ".a")
    assert folder.item("1.2.1") is None and states(out) == {}
    (source / ".a").rename(source / "a")
    path.write_bytes(whole[0])
    os.utime(path, ns=(whole[1].st_atime_ns, whole[1].st_mtime_ns))
    folder.look()
    item = folder.item("1.2.1")
    assert item is not None and len(item["image"]) == 4 and states(out) == {"1.2.1": "waiting"}


def test_a_link_to_nothing_is_refused_and_an_empty_file_passed_over(
    folder: WatchedFolder, source: Path, out: Path
) -> None:
    (source / "gone.nii.gz").symlink_to(source / "nowhere")
    (source / "empty").touch()
    folder.look()
    assert states(out) == {str(source / "gone.nii.gz"): "waiting"} and len(folder.parts.unassigned(str(source))) == 1
    with pytest.raises(ValueError, match=r"gone\.nii\.gz: no such file or folder"):
        folder.item(str(source / "gone.nii.gz"))


def test_names_that_are_no_text_are_told_of_once(
    folder: WatchedFolder, source: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / os.fsdecode(b"caf\xe9.nii.gz")).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        folder.look()
        folder.look()
    assert states(out) == {} and caplog.text.count("a name that is no UTF-8") == 1


def test_results_are_not_watched(source: Path, tmp_path: Path) -> None:
    out = source / "out"
    StudyLedger(out).make()
    write_study(out / "x", "1.2.1")
    (source / "loop").symlink_to(source)
    WatchedFolder(str(source), str(out)).look()
    assert states(out) == {}
    with pytest.raises(ValueError, match="expected results in a folder of their own"):
        WatchedFolder(str(source), str(source))
    with pytest.raises(ValueError, match="expected a folder to watch, found a file"):
        WatchedFolder(str(out / "watch.sqlite"), str(tmp_path / "results"))


def test_a_folder_that_is_away_is_an_error_and_loses_nothing(folder: WatchedFolder, source: Path, out: Path) -> None:
    write_study(source / "a", "1.2.1")
    folder.look()
    source.rename(source.with_name("away"))
    with pytest.raises(FileNotFoundError):
        folder.look()
    assert not folder.answers() and states(out) == {"1.2.1": "waiting"}
