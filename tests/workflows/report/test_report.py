"""The report of a run: what it says is what the run gave, and no name in it can do harm."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from PIL import Image

from fedmed_workflows.report.figures.run_figures import figures
from fedmed_workflows.report.page import write_report
from fedmed_workflows.report.tables import write_tables

HOSTILE = "<b>A & B</b>"
FORMULA = "_cost $\\frac{$"
FIGURES = ("balanced_accuracy", "validation_balanced_accuracy", "training_loss", "confusion", "reliability", "bytes")
DASH, TIMES = "\u2013", "\u00d7"


def score(value: float, images: int = 8, split: str = "test") -> dict[str, Any]:
    interval = {"value": value, "low": value - 0.1, "high": value + 0.1}
    undefined = {"value": None, "low": None, "high": None}
    wrong = round(10 * (1 - value))
    return {
        "images": images,
        "split": split,
        "metrics": {"accuracy": {**interval, "low": None}, "balanced_accuracy": interval, "auroc": undefined},
        "confusion": [[images - wrong, wrong], [0, 0]],
        "reliability": {
            "edges": [index / 10 for index in range(11)],
            "confidence": [None] * 8 + [0.84, 0.97],
            "accuracy": [None] * 8 + [0.5, 1.0],
            "count": [0] * 8 + [images - 3, 3],
        },
    }


def a_result() -> dict[str, Any]:
    trained = {"samples": 40, "loss": 1.25, "sent_bytes": 2000, "received_bytes": 3000}
    failed = {"error": "TimeoutError: <no answer>", "received_bytes": 3000}
    curve = [
        {name: {"balanced_accuracy": value} for name, value in ((FORMULA, 0.5), ("east", None), (HOSTILE, unseen))}
        for unseen in (0.25, 0.5, 0.75)
    ]
    tensors = {"adapter.weight": {"shape": [3, 5], "dtype": "float32"}}
    return {
        "method": "facmic_classification",
        "settings": {"learning_rate": 5e-05, "note": "<script>alert(1)</script>", "bound": math.inf},
        "versions": {"torch": "2.8.0"},
        "seed": 1234567,
        "manifest": {"tensors": tensors, "frozen": "ab12", "bytes": 60},
        "notes": ["Transductive: <unlabelled> images of the unseen site."],
        "class_names": ["a <i>class</i>", "b"],
        "key_metric": "balanced_accuracy",
        "chance": 0.5,
        "sites": [
            {"name": FORMULA, "role": "training", "samples": 40},
            {"name": "east", "role": "training", "samples": 41},
            {"name": HOSTILE, "role": "unseen", "samples": 0},
        ],
        "history": [
            {"round": 0, "validation": curve[0]},
            {"round": 1, "seconds": 2.5, "sites": {FORMULA: trained, "east": failed}, "validation": curve[1]},
            {"round": 2, "seconds": 2.0, "sites": {FORMULA: {**trained, "loss": math.nan}}, "validation": curve[2]},
        ],
        "initial": {FORMULA: score(0.411), "east": score(0.422), HOSTILE: score(0.433, 20, "all")},
        "final": {FORMULA: score(0.611), "east": score(0.622), HOSTILE: score(0.633, 20, "all")},
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return a_result()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the result, written once."""
    return write_report(a_result(), tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="module")
def page(folder: Path, read_page: Any) -> Any:
    return read_page(folder / "report.html")


def points(line: Line2D) -> Any:
    return np.asarray(line.get_xydata()).tolist()


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))


def test_names_are_text_and_never_markup(result: dict[str, Any], page: Any) -> None:
    assert not {"b", "i", "script", "unlabelled", "no"} & {tag for tag, _ in page.tags}
    for name in (HOSTILE, FORMULA, "a <i>class</i>", "<script>alert(1)</script>", result["notes"][0]):
        assert name in page.text


def test_page_needs_no_other_file(folder: Path, page: Any) -> None:
    links = [attrs[key] or "" for _, attrs in page.tags for key in ("src", "href", "srcset", "action") if key in attrs]
    assert len(links) > len(FIGURES)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    rest = re.sub(r"base64,[A-Za-z0-9+/=]+", "", (folder / "report.html").read_text("utf-8"))
    assert not re.search(r"//|url\(|@import|<script|<link", rest)


def test_pictures_in_the_page_are_the_files(folder: Path, page: Any) -> None:
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    for attrs, name in zip(images, FIGURES, strict=True):
        content = base64.b64decode(str(attrs["src"]).split(",")[1], validate=True)
        assert content == (folder / "figures" / f"{name}.png").read_bytes()
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        shown = int(attrs["width"] or 0) / int(attrs["height"] or 1)
        assert picture.width / picture.height == pytest.approx(shown, 0.01)
        assert len(picture.getcolors(picture.width * picture.height) or []) > 10


def test_page_shows_the_numbers_of_the_run(page: Any) -> None:
    summary = page.text[: page.text.index("Scores after the last round")]
    assert "2 rounds over 2 training sites and 1 unseen site" in summary
    assert f"0.433 (95% interval 0.333{DASH}0.533) before round 1" in summary
    assert f"0.633 (95% interval 0.533{DASH}0.733) after the last round" in summary
    assert "Chance is 0.500" in summary
    assert page.row("east", "test") == ["east", "test", "8", f"0.622 0.522{DASH}0.722", "0.622", DASH]
    before_and_after = next(row for row in page.rows if row[0] == "east" and row[1].startswith("+0.200"))
    assert before_and_after[1] == "+0.200 0.422 → 0.622"
    assert before_and_after[-1] == DASH
    assert page.row("adapter.weight") == ["adapter.weight", f"3 {TIMES} 5", "float32"]
    assert page.row("seed")[1] == "1234567" and page.row("torch")[1] == "2.8.0"


def test_rounds_name_who_did_not_contribute(page: Any) -> None:
    first, second = page.row("1"), page.row("2")
    assert first[1].startswith("1 of 2 sites") and "east: TimeoutError: <no answer>" in first[1]
    assert first[2:] == ["2.5", "2.00 kB", "6.00 kB"]
    assert second[1].startswith("1 of 2 sites") and "not asked: east" in second[1]
    assert page.row(FORMULA, "40")[2:] == ["2", "4.00 kB", "6.00 kB"]


def test_metrics_csv_holds_every_score(result: dict[str, Any], tmp_path: Path) -> None:
    write_tables(result, tmp_path)
    expected = [
        {
            "site": site["name"], "role": site["role"], "stage": stage, "class": "", "metric": metric,
            **{key: str(result[stage][site["name"]][key]) for key in ("split", "images")},
            **{key: "" if value is None else repr(value) for key, value in interval.items()},
        }
        for site in result["sites"]
        for stage in ("initial", "final")
        for metric, interval in result[stage][site["name"]]["metrics"].items()
    ]  # fmt: skip
    assert rows_of(tmp_path / "metrics.csv") == expected


def test_bytes_csv_holds_every_exchange(result: dict[str, Any], tmp_path: Path) -> None:
    write_tables(result, tmp_path)
    trained = {"sent_bytes": "2000", "received_bytes": "3000", "samples": "40", "error": ""}
    assert rows_of(tmp_path / "bytes.csv") == [
        {"round": "1", "site": FORMULA, **trained, "loss": "1.25"},
        {"round": "1", "site": "east", "sent_bytes": "", "received_bytes": "3000", "samples": "", "loss": "",
         "error": "TimeoutError: <no answer>"},
        {"round": "2", "site": FORMULA, **trained, "loss": ""},
    ]  # fmt: skip


def test_metrics_json_is_the_result_without_nan(result: dict[str, Any], tmp_path: Path) -> None:
    write_tables(result, tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text("utf-8"), parse_constant=pytest.fail)
    expected = deepcopy(result)
    expected["history"][2]["sites"][FORMULA]["loss"] = expected["settings"]["bound"] = None
    assert found == expected


def test_only_the_final_files_are_left_and_a_second_run_gives_the_same(result: dict[str, Any], folder: Path) -> None:
    first = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    tables = {"report.html", "metrics.csv", "bytes.csv", "metrics.json"}
    assert set(first) == tables | {f"figures/{name}.png" for name in FIGURES}
    write_report(result, folder)
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first


def test_without_an_unseen_site(result: dict[str, Any], tmp_path: Path, read_page: Any) -> None:
    result["sites"][2] = {"name": HOSTILE, "role": "training", "samples": 12}
    page = read_page(write_report(result, tmp_path))
    assert "All sites took part in training" in page.text
    assert not [attrs for _, attrs in page.tags if attrs.get("class") == "unseen"]


def test_before_any_round(result: dict[str, Any], tmp_path: Path, read_page: Any) -> None:
    result["history"] = []
    page = read_page(write_report(result, tmp_path))
    assert "0 rounds over 2 training sites" in page.text
    assert {path.stem for path in tmp_path.glob("figures/*")} == {"balanced_accuracy", "confusion", "reliability"}


def test_figures_show_the_numbers_of_the_run(result: dict[str, Any]) -> None:
    drawn = figures(result)
    unseen = drawn["validation_balanced_accuracy"].axes[2]
    lines = {str(line.get_label()): line for line in unseen.lines}
    assert points(lines["the unseen site"]) == [[0, 0.25], [1, 0.5], [2, 0.75]]
    assert lines["the unseen site"].get_linestyle() == "--" and points(lines["chance"])[0][1] == 0.5
    assert [text.get_text() for text in drawn["confusion"].axes[2].texts] == ["16", "4", "0", "0"]
    assert [text.get_text().strip() for text in drawn["reliability"].axes[5].texts] == [""] * 8 + ["17", "3"]
    missed = [line for line in drawn["bytes"].axes[1].lines if "without" in str(line.get_label())]
    assert [points(line)[0][0] for line in missed] == [1]


def test_thirty_sites_fit_sheets_and_no_title_meets_another(result: dict[str, Any]) -> None:
    names = [f"university_hospital_of_the_{index:02d}_district" for index in range(30)]
    result["sites"] = [{"name": name, "role": "training", "samples": 9} for name in names[1:]]
    result["sites"].append({"name": names[0], "role": "unseen", "samples": 0})
    result["initial"], result["final"] = ({name: score(value) for name in names} for value in (0.4, 0.6))
    site = {"samples": 9, "loss": 1.0, "sent_bytes": 10, "received_bytes": 10}
    result["history"] = [{"round": 1, "sites": dict.fromkeys(names[1:], site), "validation": {}}]
    for figure in figures(result).values():
        assert figure.get_figheight() / figure.get_figwidth() < 1.6
        FigureCanvasAgg(figure).draw()
        titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
        assert all(figure.bbox.x0 <= title.x0 and title.x1 <= figure.bbox.x1 for title in titles)
        pairs = [(one, other) for index, one in enumerate(titles) for other in titles[:index]]
        assert not [pair for pair in pairs if pair[0].overlaps(pair[1])]
