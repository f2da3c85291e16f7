"""The report of a segmentation: its own metrics, tables, figures and pictures, as legible as those of a classifier."""

from __future__ import annotations

import base64
import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from fedmed_workflows.report.figures.run_figures import figures
from fedmed_workflows.report.page import write_report

HOSTILE = "<b>A & B</b>"
CLASSES = ("optic <i>disc</i>", "cup")
OVERLAP = ("dice", "iou", "hd95", "surface_dice")
NAMES = (*OVERLAP, *(f"slice_{name}" for name in OVERLAP), "published_dice", "published_iou")
CASES = ("best", "median", "worst")
DASH = "\u2013"


def metrics(value: float) -> dict[str, Any]:
    """Every metric a little apart from the others, distances in mm."""
    numbers = {name: 10 * value + index if "hd95" in name else value + index / 100 for index, name in enumerate(NAMES)}
    return {name: {"value": number, "low": number - 0.1, "high": number + 0.1} for name, number in numbers.items()}


def score(value: float, classes: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    return {
        "images": 7,
        "slices": 91,
        "split": "test",
        "class_names": list(classes),
        "metrics": {**metrics(value), "hd95": {"value": None, "low": None, "high": None}},
        "classes": {name: metrics(value + 0.05 * (1 + index)) for index, name in enumerate(classes)},
        "empty": {
            name: {
                "images": {"label": 1, "prediction": 2, "both": 0},
                "slices": {"label": 11 + index, "prediction": 12, "both": 13},
            }
            for index, name in enumerate(classes)
        },
        "cases": [{"case": case, "dice": value, "file": f"overlays/{case}.png"} for case in CASES],
    }


def a_result(names: tuple[str, ...] = ("east", HOSTILE), classes: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    """A run whose last site is the unseen one."""
    sites = [{"name": name, "role": "training", "samples": 400 + index} for index, name in enumerate(names)]
    sites[-1]["role"] = "unseen"
    trained = {"samples": 400, "loss": 0.2, "sent_bytes": 2000, "received_bytes": 3000}
    validation = {name: {"dice": 0.5, "iou": 0.4} for name in names}
    return {
        "method": "fedmsa_segmentation",
        "settings": {"image_size": 128},
        "versions": {"torch": "2.8.0"},
        "seed": 3,
        "manifest": {"tensors": {"adapter": {"shape": [3], "dtype": "float32"}}, "frozen": "ab", "bytes": 12},
        "notes": [],
        "class_names": list(classes),
        "key_metric": "dice",
        "chance": None,
        "sites": sites,
        "history": [
            {"round": 0, "validation": validation},
            {"round": 1, "seconds": 1.0, "sites": dict.fromkeys(names[:-1], trained), "validation": validation},
        ],
        "initial": {name: score(0.3, classes) for name in names},
        "final": {name: score(0.7, classes) for name in names},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run whose first site left its pictures, and whose unseen site kept them."""
    folder = tmp_path_factory.mktemp("report")
    for shade, case in enumerate(CASES):
        path = folder / "sites" / "east" / "overlays" / f"{case}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 32), (shade, 20, 200)).save(path)
    return write_report(a_result(), folder).parent


@pytest.fixture(scope="module")
def page(folder: Path, read_page: Any) -> Any:
    return read_page(folder / "report.html")


def test_summary_speaks_of_the_key_metric(page: Any) -> None:
    summary = page.text[: page.text.index("Scores after the last round")]
    assert "1 round over 1 training site and 1 unseen site, 2 classes." in summary
    assert f"the Dice was 0.300 (95% interval 0.200{DASH}0.400) before round 1" in summary
    assert f"0.700 (95% interval 0.600{DASH}0.800) after the last round" in summary
    assert "Chance" not in page.text and "alanced accuracy" not in page.text and "calibration" not in page.text
    assert page.row("Site", "Training samples", "Contributions")


def test_metrics_stand_in_groups_with_units_and_direction(page: Any) -> None:
    tables = [row for row in page.rows if row[:3] in (["Site", "Split", "Images"], ["Site", "Split", "Slices"])]
    heads = ["Dice", "IoU", "HD95 (mm)", "Surface Dice"]
    assert [row[2:] for row in tables] == [["Images", *heads], ["Slices", *heads],
                                           ["Slices", "Published Dice", "Published IoU"]]  # fmt: skip
    by_image, by_slice, published = (row for row in page.rows if row[:2] == ["east", "test"])
    assert by_image[2:] == ["7", f"0.700 0.600{DASH}0.800", f"0.710 0.610{DASH}0.810", DASH, f"0.730 0.630{DASH}0.830"]
    assert by_slice[2:] == ["91", f"0.740 0.640{DASH}0.840", f"0.750 0.650{DASH}0.850", f"13.0 12.9{DASH}13.1",
                            f"0.770 0.670{DASH}0.870"]  # fmt: skip
    assert published[2] == "91" and published[3].startswith("0.780")
    assert page.text.count("Higher is better for Dice, IoU and Surface Dice. Lower is better for HD95 (mm).") == 2
    changes = [row for row in page.rows if row[0] == "east" and len(row) > 1 and row[1].startswith("+0.400")]
    assert changes[1] == ["east", "+0.400 0.340 → 0.740", "+0.400 0.350 → 0.750", "+4.0 9.0 → 13.0",
                          "+0.400 0.370 → 0.770"]  # fmt: skip


def test_every_class_has_its_tables_and_its_empty_masks_are_counted(page: Any) -> None:
    values = [row[1] for row in page.rows if row[0] == "east" and row[1].startswith(("0.750", "0.800"))]
    assert values == [f"0.750 0.650{DASH}0.850", f"0.800 0.700{DASH}0.900"]
    assert page.row("east", "cup")[2:] == ["7", "1", "2", "0", "91", "12", "12", "13"]
    assert page.row("east", CLASSES[0])[2:] == ["7", "1", "2", "0", "91", "11", "12", "13"]


def test_one_class_is_not_shown_twice(tmp_path: Path, read_page: Any) -> None:
    page = read_page(write_report(a_result(classes=("lung",)), tmp_path))
    assert "Class by class" not in page.text and "1 class." in page.text
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {
        "dice", "validation_dice", "training_loss", "bytes"
    }  # fmt: skip


def test_pictures_of_cases_are_embedded_where_they_lie_and_missed_where_not(folder: Path, page: Any) -> None:
    shown = [attrs for tag, attrs in page.tags if tag == "img" and "case of" in attrs["alt"]]
    assert [attrs["alt"] for attrs in shown] == [f"{case} case of east" for case in CASES]
    for attrs, case in zip(shown, CASES, strict=True):
        content = (folder / "sites" / "east" / "overlays" / f"{case}.png").read_bytes()
        assert base64.b64decode(attrs["src"].split(",")[1]) == content
    assert page.text.count("the picture stayed at the site") == 3
    assert "These pictures show patients" in page.text


def test_a_page_without_pictures_does_not_speak_of_patients(tmp_path: Path, read_page: Any) -> None:
    page = read_page(write_report(a_result(), tmp_path))
    assert page.text.count("the picture stayed at the site") == 6 and "show patients" not in page.text


@pytest.mark.parametrize("file", ["../other/overlays/best.png", "../../secret.png", "/etc/hostname", "notes.txt"])
def test_a_site_cannot_name_files_of_others(tmp_path: Path, read_page: Any, file: str) -> None:
    for path in ("sites/east/notes.txt", "sites/other/overlays/best.png", "secret.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / path, "PNG" if path.endswith("png") else "BMP")
    result = a_result()
    result["final"]["east"]["cases"][0]["file"] = file
    page = read_page(write_report(result, tmp_path))
    assert not [attrs for tag, attrs in page.tags if tag == "img" and "case of" in attrs["alt"]]


def test_names_are_text_and_the_page_needs_no_other_file(folder: Path, page: Any) -> None:
    assert not {"b", "i", "script"} & {tag for tag, _ in page.tags}
    assert HOSTILE in page.text and CLASSES[0] in page.text
    rest = re.sub(r"base64,[A-Za-z0-9+/=]+", "", (folder / "report.html").read_text("utf-8"))
    assert not re.search(r"//|url\(|@import|<script|<link|href=\"[^#]", rest)


def test_metrics_csv_holds_the_classes(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text("utf-8"), newline="")))
    assert len(rows) == 2 * 2 * 3 * len(NAMES)
    found = [row for row in rows if (row["site"], row["stage"], row["metric"]) == ("east", "final", "dice")]
    assert [(row["class"], float(row["value"])) for row in found] == [
        ("", pytest.approx(0.7)), (CLASSES[0], pytest.approx(0.75)), ("cup", pytest.approx(0.8))
    ]  # fmt: skip


def test_figures_show_the_key_metric_and_no_chance() -> None:
    drawn = figures(a_result())
    assert list(drawn) == ["dice", "dice_by_class", "validation_dice", "training_loss", "bytes"]
    for name in ("dice", "dice_by_class", "validation_dice"):
        assert not [line for axes in drawn[name].axes for line in axes.lines if line.get_label() == "chance"]
    lines = drawn["dice_by_class"].axes[0].lines
    marks = [line for line in lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [float(line.get_xdata()[0]) for line in marks] == pytest.approx([0.35, 0.75, 0.4, 0.8])


@pytest.mark.parametrize("count", [1, 2, 5, 30])
@pytest.mark.parametrize("classes", [2, 12])
def test_any_number_of_sites_and_classes_fits(count: int, classes: int) -> None:
    names = tuple(f"university_hospital_of_the_{index:02d}_district" for index in range(count))
    result = a_result(names, tuple(f"structure number {index} of the abdomen" for index in range(classes)))
    for name, figure in figures(result).items():
        assert figure.get_figheight() / figure.get_figwidth() < 1.7 or count == 1, name
        FigureCanvasAgg(figure).draw()
        titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
        assert all(figure.bbox.x0 <= title.x0 and title.x1 <= figure.bbox.x1 for title in titles), name
        pairs = [(one, other) for index, one in enumerate(titles) for other in titles[:index]]
        assert not [pair for pair in pairs if pair[0].overlaps(pair[1])], name
