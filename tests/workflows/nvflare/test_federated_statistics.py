"""Federated statistics in NVFlare's simulator: the page and its numbers, against the pictures themselves."""

from __future__ import annotations

import copy
import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import create_workflow
from PIL import Image

from fedmed_workflows.nvflare.job.public_names import public_name
from fedmed_workflows.nvflare.job.statistics_job import SITE_CLASSES, write_statistics_job
from fedmed_workflows.nvflare.run.simulated_statistics import SimulatedStatistics
from fedmed_workflows.report.statistics_page import write_statistics

PICTURES = {"large": {"dots": 70, "stripes": 40}, "middle": {"dots": 20, "stripes": 3}, "small": {"dots": 5}}
"""By site and class. Ten bins are fewer than 10% of 110 patients; 3 and 5 are fewer than 10."""


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, random = tmp_path_factory.mktemp("hospitals"), np.random.default_rng(0)
    for brightness, (site, classes) in enumerate(PICTURES.items()):
        for name, count in classes.items():
            (root / site / name).mkdir(parents=True)
            for index in range(count):
                picture = random.integers(0, 60, (8, 8 + brightness)) + 50 * brightness
                Image.fromarray(picture.astype(np.uint8)).save(root / site / name / f"{index}.png")
    (root / "middle" / "dots" / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def values(dataset_dir: Path) -> dict[str, list[Any]]:
    """Every picture's values, by site, read by Pillow."""
    files = {site: sorted((dataset_dir / site).rglob("[0-9]*.png")) for site in PICTURES}
    return {site: [np.asarray(Image.open(file), dtype=float) for file in found] for site, found in files.items()}


@pytest.fixture(scope="module")
def entries(dataset_dir: Path, bundle_root: Path, small_clip: dict[str, Any], tmp_path_factory: Any) -> dict[str, Any]:
    return {
        "config_file": str(bundle_root / "configs" / "federated.json"),
        "bundle_root": str(bundle_root),
        "dataset_dir": str(dataset_dir),
        "unseen_site": "small",
        "class_names": ["dots", "stripes"],
        "output_dir": str(tmp_path_factory.mktemp("output") / "run"),
        "device": "cpu",
        "facmic": {"target": "none", "clip": small_clip, "weights": None, "image_size": 16},
    }


@pytest.fixture(scope="module")
def record(processes: None, entries: dict[str, Any]) -> dict[str, Any]:
    """One run of the command's entry, in the simulator."""
    (result,) = create_workflow(**copy.deepcopy(entries)).parser.get_parsed_content("statistics")
    return dict(result)


def numbers(record: dict[str, Any], quantity: str, statistic: str) -> dict[str, Any]:
    return {site: value["site"] for site, value in record["statistics"][quantity].get(statistic, {}).items()}


def test_counts_are_those_of_the_folders_and_small_ones_stay_at_their_site(record: dict[str, Any]) -> None:
    assert numbers(record, "images", "count") == {"large": 110, "middle": 23, "Global": 133}
    assert numbers(record, "images", "sum") == {"large": 110, "middle": 23, "Global": 133}
    assert numbers(record, "images", "failure_count") == {"large": 0, "middle": 1, "small": 0, "Global": 1}
    assert numbers(record, "class dots", "count") == {"large": 70, "Global": 70}  # middle's 20 would tell its 3 stripes
    assert numbers(record, "class stripes", "count") == {"large": 40, "Global": 40}


def test_nothing_of_the_small_site_reached_the_server(record: dict[str, Any]) -> None:
    for quantity, statistics in record["statistics"].items():
        of_small = {statistic for statistic, sites in statistics.items() if "small" in sites}
        assert of_small == (set() if quantity == "class stripes" else {"failure_count"}), quantity  # it has no stripes


def test_intensities_are_those_of_the_pictures(record: dict[str, Any], values: dict[str, list[Any]]) -> None:
    means, deviations = (numbers(record, "intensity", statistic) for statistic in ("mean", "stddev"))
    for site in ("large", "middle"):
        own = np.concatenate([picture.ravel() for picture in values[site]])  # of one size within a site
        assert means[site] == pytest.approx(own.mean(), abs=1e-4)
        count = len(values[site])
        assert deviations[site] == pytest.approx(own.std() * math.sqrt(count / (count - 1)), abs=1e-4)
    both = [picture for site in ("large", "middle") for picture in values[site]]
    mean = np.mean([picture.mean() for picture in both])
    assert means["Global"] == pytest.approx(mean, abs=1e-4)
    squares = sum(np.mean((picture - mean) ** 2) for picture in both)
    assert deviations["Global"] == pytest.approx(math.sqrt(squares / (len(both) - 1)), abs=1e-3)


def test_a_histogram_comes_of_the_site_that_has_enough_for_its_bins(
    record: dict[str, Any], values: dict[str, list[Any]]
) -> None:
    bins = numbers(record, "intensity", "histogram")
    assert set(bins) == {"large", "Global"} and len(bins["large"]) == 10
    low, high = bins["large"][0][0], bins["large"][-1][1]
    greatest = max(picture.max() for picture in values["middle"])
    assert low <= 0 and greatest * 1.1 <= high <= greatest * 1.3  # NVFlare's noise on the greatest value of all
    pictures = [np.histogram(picture, 10, (low, high))[0] / picture.size for picture in values["large"]]
    assert [count for _, _, count in bins["large"]] == pytest.approx(np.sum(pictures, axis=0).tolist(), abs=1e-2)


def test_the_page_shows_numbers_and_says_what_is_withheld(
    record: dict[str, Any], entries: dict[str, Any], read_page: Callable[[Path], Any]
) -> None:
    page = read_page(Path(entries["output_dir"]) / "statistics.html")
    assert ["large", "110", "110", "0"] in page.rows and ["middle", "23", "23", "1"] in page.rows
    assert ["small unseen", "withheld", "withheld", "withheld"] in page.rows
    assert ["All sites, without withheld numbers", "133", "133", "1"] in page.rows
    reason = "because the site has fewer than 10 patients, or than the minimum that the site sets"
    assert f"small: all numbers, {reason}" in page.text
    assert "middle: class dots, class stripes, each of fewer than 10 patients" in page.text
    assert "middle: withheld for Intensity: 10 bins are not fewer than 10% of 23 patients" in page.text
    assert not any(tag == "script" or attributes.get("href") for tag, attributes in page.tags)


def test_the_table_and_the_numbers_lie_beside_the_page(record: dict[str, Any], entries: dict[str, Any]) -> None:
    folder = Path(entries["output_dir"])
    assert json.loads((folder / "statistics.json").read_text()) == record
    rows = list(csv.DictReader((folder / "statistics.csv").open()))
    (row,) = [row for row in rows if (row["site"], row["quantity"]) == ("middle", "images")]
    assert (row["state"], row["patients"], row["total"], row["refused"]) == ("known", "23", "23.0", "1")
    (row,) = [row for row in rows if (row["site"], row["quantity"]) == ("small", "images")]
    assert (row["state"], row["patients"], row["role"]) == ("withheld", "", "unseen")


def test_a_run_in_the_folder_of_its_statistics_links_to_their_page(
    record: dict[str, Any], entries: dict[str, Any], dataset_dir: Path, read_page: Callable[[Path], Any]
) -> None:
    (dataset_dir / "middle" / "dots" / "broken.png").unlink(missing_ok=True)
    method = {**entries["facmic"], "batch_size": 4}
    run = {**entries, "rounds": 1, "sites": ["large"], "unseen_site": None, "facmic": method}
    create_workflow(**copy.deepcopy(run)).parser.get_parsed_content("federation").run()
    page = read_page(Path(entries["output_dir"]) / "report.html")
    assert ("a", {"href": "statistics.html"}) in page.tags


def test_a_site_that_did_not_answer_is_named_and_its_numbers_are_not_guessed(
    record: dict[str, Any], tmp_path: Path, read_page: Callable[[Path], Any]
) -> None:
    page = read_page(
        write_statistics({**record, "sites": [*record["sites"], {"name": "away", "role": "training"}]}, tmp_path)
    )
    assert ["away", "no answer", "no answer", "no answer"] in page.rows
    assert "away: no answer." in page.text


def test_a_job_holds_configuration_only_and_its_privacy_settings(entries: dict[str, Any], tmp_path: Path) -> None:
    federation = create_workflow(**copy.deepcopy(entries)).parser.get_parsed_content("federation")
    job = write_statistics_job(federation, 12, "statistics", tmp_path)
    files = {str(path.relative_to(job)) for path in job.rglob("*") if path.is_file()}
    assert files == {
        "meta.json", "server/config/config_fed_server.json", "site/config/config_fed_client.json",
        "site/config/federation.json",
    }  # fmt: skip
    config = json.loads((job / "site" / "config" / "config_fed_client.json").read_text())
    components = {component["id"]: component for component in config["components"]}
    assert components["small_counts"]["args"] == {"min_count": 12}
    (chain,) = config["task_result_filters"]
    assert chain["tasks"] == ["fed_stats"]
    assert chain["filters"][0]["args"] == {"result_cleanser_ids": ["small_counts"]}
    named = {part["path"] for part in (*config["components"], *chain["filters"], config["executors"][0]["executor"])}
    assert named == {public_name(cls) for cls in SITE_CLASSES}


def test_a_site_of_nvflare_s_name_for_all_sites_is_refused(entries: dict[str, Any], tmp_path: Path) -> None:
    elsewhere = {**entries, "dataset_dir": "none", "sites": ["large", "Global"], "unseen_site": None}
    federation = create_workflow(**copy.deepcopy(elsewhere)).parser.get_parsed_content("federation")
    with pytest.raises(ValueError, match="site 'Global': .* expected another name"):
        write_statistics_job(federation, 10, "statistics", tmp_path)


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_a_least_number_of_patients_that_is_none_is_refused(entries: dict[str, Any], count: Any) -> None:
    federation = create_workflow(**copy.deepcopy(entries)).parser.get_parsed_content("federation")
    with pytest.raises(ValueError, match="statistics_min_count: found .*, expected a whole number of at least 1"):
        SimulatedStatistics(federation, count)
