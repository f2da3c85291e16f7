"""The report of leave-one-site-out: every unseen site's numbers, their mean and spread, and the way to each run."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from matplotlib.lines import Line2D

from fedmed_workflows.report.leave_one_out import interval_figure, summary, write_leave_one_out

HOSTILE = "<b>A & B</b>?#"
VALUES = {"east": (0.2, 0.6), "west": (0.3, 0.7), HOSTILE: (0.4, 0.95)}
DASH = "\u2013"


def score(metric: str, value: float, **others: float | None) -> dict[str, Any]:
    parts = {metric: value, **others}
    intervals = {
        name: {"value": part, "low": None if part is None else part - 0.1, "high": None if part is None else part + 0.1}
        for name, part in parts.items()
    }
    return {"images": 7, "slices": 70, "split": "all", "metrics": intervals}


def run(metric: str, unseen: str, **others: float | None) -> dict[str, Any]:
    """A run over the three sites of which one is unseen. The others score what no report of unseen sites may show."""
    before, after = VALUES[unseen]
    scores = {name: score(metric, 0.999) for name in VALUES}
    return {
        "method": "fedsam_segmentation",
        "notes": ["Everywhere.", *(["<i>Only</i> west."] if unseen == "west" else [])],
        "class_names": ["lung"],
        "key_metric": metric,
        "chance": 0.25 if metric == "balanced_accuracy" else None,
        "sites": [{"name": name, "role": "unseen" if name == unseen else "training", "samples": 4} for name in VALUES],
        "history": [{"round": 0, "validation": {}}, {"round": 1, "sites": {}, "validation": {}}],
        "initial": {**scores, unseen: score(metric, before, **others)},
        "final": {**scores, unseen: score(metric, after, **others)},
    }


@pytest.fixture
def results() -> dict[str, dict[str, Any]]:
    """Results of a segmentation; the distance is undefined at one site."""
    distances = dict(zip(VALUES, (4.0, 9.0, None), strict=True))
    return {name: run("dice", name, hd95=distances[name]) for name in VALUES}


def test_summary_is_the_mean_and_the_spread_over_unseen_sites(results: dict[str, dict[str, Any]]) -> None:
    found = summary(results)
    assert set(found) == {"dice", "hd95"}
    assert found["dice"]["final"] == pytest.approx(
        {"mean": 0.75, "sd": statistics.stdev([0.6, 0.7, 0.95]), "min": 0.6, "max": 0.95, "sites": 3}
    )
    assert found["dice"]["initial"]["mean"] == pytest.approx(0.3)
    assert found["hd95"]["final"] == pytest.approx({"mean": 6.5, "sd": 3.5355339, "min": 4, "max": 9, "sites": 2})
    alone = summary({"east": results["east"]})["dice"]["final"]
    assert alone == {"mean": 0.6, "sd": None, "min": 0.6, "max": 0.6, "sites": 1}


def test_page_shows_each_unseen_site_and_leads_to_its_run(
    results: dict[str, dict[str, Any]], tmp_path: Path, read_page: Any
) -> None:
    path = write_leave_one_out(results, tmp_path)
    page = read_page(path)
    assert path == tmp_path / "report.html"
    assert (
        "Over the unseen sites the Dice was 0.300 ± 0.100 before round 1 and 0.750 ± 0.180 after the last" in page.text
    )
    assert (
        "3 sites, each the unseen site of its own run, 1 class." in page.text and "Chance" not in page.text
    )
    assert page.row("Unseen site") == ["Unseen site", "Rounds", "Images", "Dice", "HD95 (mm)"]
    assert page.row("west") == ["west", "1", "7", f"0.700 0.600{DASH}0.800 before 0.300 0.200{DASH}0.400",
                                f"9.0 8.9{DASH}9.1 before 9.0 8.9{DASH}9.1"]  # fmt: skip
    assert page.row(HOSTILE)[-1] == f"{DASH} before {DASH}"
    assert page.row("Mean ± standard deviation")[3:] == [
        "0.750 ± 0.180 before 0.300 ± 0.100",
        "6.5 ± 3.5 before 6.5 ± 3.5",
    ]
    assert page.row("Minimum to maximum")[3:] == [
        f"0.600{DASH}0.950 before 0.200{DASH}0.400",
        f"4.0{DASH}9.0 before 4.0{DASH}9.0",
    ]
    assert "0.999" not in page.text
    assert "Everywhere." in page.text and "west: <i>Only</i> west." in page.text
    assert not {"b", "i"} & {tag for tag, _ in page.tags}
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert [unquote(link) for link in links] == [f"{name}/report.html" for name in VALUES]
    assert not re.search(r"[<>&?#]", "".join(links)) and all(link.count("/") == 1 for link in links)


def test_classification_has_its_metrics_and_chance(tmp_path: Path, read_page: Any) -> None:
    page = read_page(write_leave_one_out({name: run("balanced_accuracy", name) for name in VALUES}, tmp_path))
    assert "the balanced accuracy was 0.300 ± 0.100 before" in page.text and "Chance is 0.250." in page.text
    assert page.row("Unseen site")[3:] == ["Balanced accuracy"]
    assert (tmp_path / "figures" / "balanced_accuracy.png").is_file()


def test_tables_hold_all_runs(results: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    write_leave_one_out(results, tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text("utf-8"), newline="")))
    assert len(rows) == 3 * (2 * 3 + 2)  # a metric of every site at both stages, the second of unseen sites alone
    assert next(iter(rows[0])) == "unseen_site"
    own = [row for row in rows if row["site"] == row["unseen_site"] and row["metric"] == "dice"]
    assert [(row["site"], row["role"], row["stage"], float(row["value"])) for row in own] == [
        (name, "unseen", stage, value)
        for name, values in VALUES.items()
        for stage, value in zip(("initial", "final"), values, strict=True)
    ]
    numbers = json.loads((tmp_path / "metrics.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert numbers["results"] == results and numbers["summary"] == summary(results)


def test_figure_shows_every_unseen_site(
    results: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    module = "fedmed_workflows.report.leave_one_out.interval_figure"
    monkeypatch.setattr(module, lambda *args: drawn.append(interval_figure(*args)) or drawn[-1])
    write_leave_one_out(results, tmp_path)
    lines: list[Line2D] = [
        line for line in drawn[0].axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())
    ]
    assert [float(line.get_xdata()[0]) for line in lines] == [0.2, 0.6, 0.3, 0.7, 0.4, 0.95]
