"""A table of results: on the disk at once, gone on with later, whole after a crash."""

from __future__ import annotations

import csv
import resource
from pathlib import Path

import pytest

from fedmed_workflows.clinic.result_table import ResultTable


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "t.csv"


def test_rows_are_there_at_once_and_replace_those_with_the_same_keys(path: Path) -> None:
    table = ResultTable(path, ["path", "study", "value"], 2)
    assert not path.exists()
    table.put(["a, b", 'of "x"\nand more', 1.5])
    assert read(path) == [["path", "study", "value"], ["a, b", 'of "x"\nand more', "1.5"]]
    table.put(["b", "", 2])
    table.put(["b", "1.2", 3])
    table.put(["b", "", 4])
    assert read(path)[2:] == [["b", "", "4"], ["b", "1.2", "3"]] and table.rows == read(path)[1:]
    assert [file.name for file in path.parent.iterdir()] == ["t.csv"]


def test_a_later_table_goes_on(path: Path) -> None:
    ResultTable(path, ["path", "value"], 1).put(["a", 1])
    later = ResultTable(path, ["path", "value"], 1)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    later.put(["a", 1])
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    later.put(["b", 2])
    assert read(path) == [["path", "value"], ["a", "1"], ["b", "2"]]
    later.drop("nothing")
    later.drop("a")
    assert read(path) == [["path", "value"], ["b", "2"]]
    later.drop("b")
    assert not path.exists()
    later.put(["c", 3])
    assert read(path) == [["path", "value"], ["c", "3"]]


def test_a_row_that_a_crash_cut_short_is_dropped(path: Path) -> None:
    table = ResultTable(path, ["path", "value"], 1)
    table.put(["a", 1])
    table.put(["b", 12345])
    content = path.read_bytes()
    for length in range(content.index(b"b,12345"), len(content)):
        path.write_bytes(content[:length])
        later = ResultTable(path, ["path", "value"], 1)
        assert later.rows == [["a", "1"]]
        later.put(["c", 3])
        assert read(path) == [["path", "value"], ["a", "1"], ["c", "3"]]


def test_another_table_is_refused(path: Path) -> None:
    ResultTable(path, ["image", "glioma"], 1).put(["a", 1])
    with pytest.raises(ValueError, match=r"t\.csv: expected a table of \['image', 'healthy'\], found one of"):
        ResultTable(path, ["image", "healthy"], 1)


@pytest.mark.parametrize("room", [0, 5])
def test_a_row_that_the_disk_does_not_take_can_be_put_again(path: Path, room: int) -> None:
    table = ResultTable(path, ["path", "value"], 1)
    table.put(["a", 1])
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        with pytest.raises(OSError):  # noqa: PT011, of the system
            table.put(["b", 12345678])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and table.rows == [["a", "1"]]
    table.put(["b", 12345678])
    assert read(path)[2:] == [["b", "12345678"]]
