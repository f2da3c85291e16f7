"""Each site in turn is the unseen one: a run for each, one report for all, and what already ran is not run again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

from fedmed_workflows import SiteAlgo


@pytest.fixture
def entries(federated: dict[str, Any]) -> dict[str, Any]:
    federated["facmic"]["target"] = "none"
    return {**federated, "unseen_site": "all", "rounds": 2}


def run(entries: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = create_workflow(**entries).run()[0]
    return result


def test_every_site_is_unseen_once(entries: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    results, folder = run(entries), Path(entries["output_dir"])
    assert list(results) == ["site_a", "site_b", "unseen"]
    for name, result in results.items():
        roles = {site["name"]: site["role"] for site in result["sites"]}
        assert roles == {site: "unseen" if site == name else "training" for site in results}
        assert (folder / name / "report.html").is_file() and (folder / name / "model.pt").is_file()
        assert json.loads((folder / name / "run.json").read_text())["identity"]["unseen_site"] == name
    with (folder / "metrics.csv").open() as file:
        assert {row["unseen_site"] for row in csv.DictReader(file)} == set(results)
    assert all(f"{name}/report.html" in (folder / "report.html").read_text() for name in results)

    monkeypatch.setattr(SiteAlgo, "fit_round", lambda *_: pytest.fail("a round was run again"))
    again = run(entries)
    assert all(again[name]["final"] == results[name]["final"] for name in results)
    monkeypatch.undo()
    with pytest.raises(RuntimeError) as refused:
        run({**entries, "seed": 1})
    assert "belongs to another run: seed: found 0, expected 1" in str(refused.value.__cause__)


def test_the_minimum_counts_the_sites_that_are_left(entries: dict[str, Any]) -> None:
    with pytest.raises(Exception) as refused:  # noqa: B017, the parser wraps errors of construction in its own
        run({**entries, "min_sites": 3})
    assert "min_sites: found 3, expected at most the 2 sites" in str(refused.value.__cause__)
