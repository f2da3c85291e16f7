"""The ledger of a watch: states, attempts, and what is on the disk."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from fedmed_workflows.clinic.watch.ledger import StudyLedger
from fedmed_workflows.clinic.watch.study_parts import Part, StudyParts
from tests.watch_process import attempts, errors, states


@pytest.fixture
def ledger(tmp_path: Path) -> StudyLedger:
    ledger = StudyLedger(tmp_path)
    ledger.make()
    return ledger


def see(folder: Path, *keys: str, version: str = "1", series: str = "") -> list[str]:
    return StudyParts(folder).see([Part("place", key, version, key, series) for key in keys])


def test_studies_are_taken_in_order_of_arrival_once_they_have_settled(ledger: StudyLedger, tmp_path: Path) -> None:
    for key in "cab":
        see(tmp_path, key)
    assert ledger.settled(0) == ["c", "a", "b"] and ledger.settled(60) == []
    time.sleep(0.2)
    see(tmp_path, "c", version="2")
    assert ledger.settled(0.1) == ["a", "b"] and ledger.settled(0) == ["c", "a", "b"]


def test_what_becomes_of_a_study_that_changes(ledger: StudyLedger, tmp_path: Path) -> None:
    see(tmp_path, "a", "b", "c", series="1")
    for key in "abc":
        assert ledger.begin(key)
    ledger.done("a", "1")
    ledger.done("b", "2")
    ledger.set_aside("c", "why")
    assert see(tmp_path, "a", "b", "c", series="1") == [] and ledger.settled(0) == []
    assert see(tmp_path, "a", "b", "c", version="2", series="1") == ["a"]
    assert states(tmp_path) == {"b": "done", "a": "waiting", "c": "waiting"} and errors(tmp_path) == {}
    assert attempts(tmp_path) == {"a": 0, "b": 1, "c": 0}


def test_attempts(ledger: StudyLedger, tmp_path: Path) -> None:
    """One that was put back for a full disk does not count, one with an error does, and one that nothing ended."""
    see(tmp_path, "a")
    for error, count in (("", 0), ("server", 1), ("", 1), ("server", 2)):
        assert ledger.begin("a")
        ledger.put_back("a", error)
        ledger.put_back("a", error)
        assert attempts(tmp_path) == {"a": count}
    assert ledger.begin("a")
    StudyLedger(tmp_path).resume()
    assert "the process ended 3 times" in errors(tmp_path)["a"]
    assert ledger.retry() == 1 and attempts(tmp_path) == {"a": 0}
    for _ in range(3):
        assert ledger.begin("a")
        ledger.put_back("a", "server")
    assert not ledger.begin("a") and errors(tmp_path) == {"a": "server"}


def test_a_ledger_is_not_begun_anew_where_it_has_gone(ledger: StudyLedger, tmp_path: Path) -> None:
    ledger.path.unlink()
    with pytest.raises(sqlite3.OperationalError):
        ledger.settled(0)
    assert not ledger.path.exists()
    with pytest.raises(ValueError, match=r"watch\.sqlite: expected the ledger of a watch, found none"):
        ledger.retry()
    ledger.path.write_bytes(b"no ledger" * 1000)
    with pytest.raises(ValueError, match=r"watch\.sqlite: expected the ledger of a watch, found"):
        ledger.make()
