"""The page of a comparison: its tables, files and figures hold the runs' numbers, and nothing is fetched or run."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedmed_workflows.comparison.results.compared_run import Arm, ComparedRun
from fedmed_workflows.comparison.results.page import write_comparison
from fedmed_workflows.comparison.results.site_scores import UNSEEN, Place, SeedMean
from fedmed_workflows.comparison.results.tables import latex_table
from fedmed_workflows.evaluation.score_counts import score_counts
from tests.workflows.comparison.compared import SITES, compared_run

DASH = "\u2013"
HOSTILE = Arm("<b>b & c</b>")
ARMS = (Arm("a"), Arm("a", "alone"), Arm("a", "pooled"), HOSTILE)


def runs() -> list[ComparedRun]:
    """Every arm with three seeds and two unseen sites; Dice in hundredths: 50 and more for each arm, seed and site."""
    found = []
    for seed in range(3):
        for row, arm in enumerate(ARMS):
            for unseen in ("east", "west"):
                for at in [site for site in SITES if site != unseen] if arm.training == "alone" else [None]:
                    first = 50 + 10 * row + 3 * seed * (row + 1)
                    values = {site: (first + place) / 100 for place, site in enumerate(SITES)}
                    found.append(compared_run(arm, seed, unseen, {**values, "pooled": 0.999}, at))
    return found


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as content:
        return list(csv.DictReader(content))


def test_tables_hold_the_runs_numbers(tmp_path: Path, read_page: Any) -> None:
    path = write_comparison(runs(), tmp_path)
    page = read_page(path)
    assert path == tmp_path / "report.html"
    assert "4 methods, 3 seeds (0, 1, 2), 2 sites left out of training in turn, 1 class: 30 runs." in page.text
    first, second = [row for row in page.rows if row[0] == "a"][:2]
    # Seeds of a: 0.50, 0.53, 0.56 in the east and 0.51, 0.54, 0.57 in the west; t of two degrees is 4.3027.
    half = 4.302653 * 0.03 / 3**0.5
    assert first == [
        "a", f"0.530 {0.53 - half:.3f}{DASH}{0.53 + half:.3f}", f"0.540 {0.54 - half:.3f}{DASH}{0.54 + half:.3f}",
        f"0.535 {0.535 - half:.3f}{DASH}{0.535 + half:.3f}", "0.530", "east", "0.007",
    ]  # fmt: skip
    assert second[0] == "a" and [cell[:5] for cell in second[1:5]] == ["0.530", "0.550", "0.540", "0.540"]
    assert "0.999" not in page.text
    columns = ("method", "training", "site", "role")
    summary = {tuple(row[name] for name in columns): row for row in rows(tmp_path / "summary.csv")}
    east = summary["a", "federated", "east", "unseen"]
    assert [float(east[name]) for name in ("mean", "low", "high")] == pytest.approx([0.53, 0.53 - half, 0.53 + half])
    assert float(summary["a", "alone", "north", "training"]["mean"]) == pytest.approx(0.60 + 0.06 + 0.02)
    scores = rows(tmp_path / "scores.csv")
    assert len(scores) == sum(2 * len(run.result["sites"]) for run in runs())
    assert {row["trained_at"] for row in scores if row["training"] == "alone"} == set(SITES)


def test_tests_and_costs_are_on_the_page(tmp_path: Path, read_page: Any) -> None:
    page = read_page(write_comparison(runs(), tmp_path, reach=0.5))
    (test,) = [row for row in rows(tmp_path / "tests.csv") if (row["first"], row["second"]) == ("a", HOSTILE.name)]
    # The difference is -0.30, -0.39 and -0.48 with seeds 0, 1, 2, the same at both sites.
    assert int(test["pairs"]) == 6 and float(test["difference"]) == pytest.approx(-0.39)
    assert float(test["wilcoxon"]) == pytest.approx(2 / 2**6)
    assert float(test["wilcoxon_holm"]) == pytest.approx(4 * 2 / 2**6)
    shown = page.row("a", HOSTILE.name)
    assert shown[2] == "6" and shown[3].startswith("\u22120.390") and shown[4:6] == ["0.031", "0.12"]
    (cost,) = [row for row in page.rows if row[:3] == ["a", "30 B", "240 B"]]
    assert cost[3:] == ["6 of 6", "120 B", "1.0", "3.00", "1.00 GB"]
    assert "to reach a validation Dice of 0.500 at the unseen site" in page.text
    # Trained alone in the east, the west being unseen; seeds 0.60, 0.66, 0.72 there.
    assert page.row("Trained at", "east") == ["Trained at", "east", "north", "west"]
    assert page.row("east", "0.660") == ["east", "0.660", "0.680", DASH]


def test_memory_of_a_gpu_is_shown_where_one_was_used(tmp_path: Path, read_page: Any) -> None:
    for run in (used := runs()):
        run.cost["peak_gpu_bytes"] = 4e9 if run.arm.name == "a" else None
    page = read_page(write_comparison(used, tmp_path, reach=0.5))
    (first,) = [row for row in page.rows if row[:3] == ["a", "30 B", "240 B"]]
    others = [row for row in page.rows if row[1:2] == ["30 B"] and row != first]
    assert first[8] == "4.00 GB" and others and all(row[8] == DASH for row in others)


def test_nothing_of_the_page_is_fetched_and_only_its_own_script_runs(tmp_path: Path, read_page: Any) -> None:
    content = write_comparison(runs(), tmp_path).read_text("utf-8")
    page = read_page(tmp_path / "report.html")
    assert not {"b", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert all((attrs.get("src") or "data:").startswith("data:") for _, attrs in page.tags)
    (script,) = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'" in str(policy) and "default-src 'none'" in str(policy)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert len(links) == 30 and not re.search(r"[<>&?#]", "".join(map(str, links)))
    for name in ("dice_by_seed", "validation"):
        assert np.asarray(Image.open(tmp_path / "figures" / f"{name}.png")).std() > 5
    assert not (tmp_path / "curves.csv").exists() and not (tmp_path / "figures" / "roc.png").exists()


def test_latex_table() -> None:
    east, west = Place("e_st", UNSEEN), Place("west", UNSEEN)
    table = latex_table({Arm("50% & more"): {east: {0: 0.5, 1: 0.7}, west: {0: 0.4}}, Arm("b"): {}}, UNSEEN, "dice")
    assert r"Method & e\_st & west & Mean & Worst \\" in table and r"\begin{tabular}{lrrrr}" in table
    half = 12.7062 * 0.141421 / 2**0.5
    assert rf"50\% \& more & 0.600 $\pm$ {half:.3f} & 0.400 & 0.450 & 0.400 \\" in table
    assert r"b & -- & -- & -- & -- \\" in table
    assert table.count(r"\\") == 3 and table.index(r"\toprule") < table.index(r"\midrule") < table.index(r"\bottomrule")


def classified(run: ComparedRun, sharpness: float) -> ComparedRun:
    """The same run of a classifier, whose sites gave counts and bins."""
    random = np.random.default_rng(run.seed)
    labels = random.integers(0, 3, 90)
    scores = np.exp(sharpness * (random.normal(size=(90, 3)) + np.eye(3)[labels]))
    counts = score_counts(scores / scores.sum(axis=1, keepdims=True), labels)
    bins = {"edges": [i / 10 for i in range(11)], "count": [0] * 8 + [10 + 10 * run.seed, 30],
            "confidence": [None] * 8 + [0.85, 0.95], "accuracy": [None] * 8 + [0.5, 0.75]}  # fmt: skip
    final = {name: {**score, "counts": counts, "reliability": bins} for name, score in run.result["final"].items()}
    return replace(run, result={**run.result, "final": final, "chance": 1 / 3, "class_names": ["a", "b", "c"]})


def test_a_classification_has_curves(tmp_path: Path, read_page: Any) -> None:
    found = [classified(run, 1 + ARMS.index(run.arm)) for run in runs() if run.seed < 2]
    page = read_page(write_comparison(found, tmp_path))
    assert "Chance is 0.333." in page.text
    points = rows(tmp_path / "curves.csv")
    of_a = [row for row in points if (row["method"], row["training"], row["site"]) == ("a", "federated", "east")]
    bins = [(float(row["x"]), float(row["y"])) for row in of_a if row["curve"] == "reliability"]
    assert bins == [pytest.approx((0.85, 0.5)), pytest.approx((0.95, 0.75))]
    roc = [float(row["y"]) for row in of_a if row["curve"] == "roc"]
    assert len(roc) == 101 and roc == sorted(roc) and roc[-1] == 1 and np.mean(roc) > 0.6
    assert {row["method"] for row in points if row["curve"] == "decision"} == {"a", HOSTILE.name, "treat all"}
    for name in ("roc", "decision", "reliability"):
        assert np.asarray(Image.open(tmp_path / "figures" / f"{name}.png")).std() > 5


def test_one_seed_without_unseen_site(tmp_path: Path, read_page: Any) -> None:
    found = [compared_run(arm, 0, None, {site: 0.5 for site in SITES}) for arm in (Arm("a"), Arm("b"))]
    page = read_page(write_comparison(found, tmp_path))
    assert "no site left out of training" in page.text and "One seed has no interval." in page.text
    assert page.row("a", "b")[-1] == "n is below 6"
    assert SeedMean(0.5, None, None, 1).low is None and "0.500" in page.text
