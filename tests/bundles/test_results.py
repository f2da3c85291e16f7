"""The committed comparisons of docs/results: their tables agree with each other, and their configurations still fit."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

ROOT = Path(__file__).parents[2]
RESULTS = {
    "classification": ("facmic_classification", "brain_tumor_mri", "balanced_accuracy"),
    "nuclei": ("fedsam_segmentation", "nuclei", "dice"),
}
"""By folder: bundle, folder of the images, key metric."""

SEEDS, UNSEEN_SITES = 3, 4


def rows(name: str, table: str, **wanted: str) -> list[dict[str, str]]:
    with (ROOT / "docs" / "results" / name / f"{table}.csv").open(newline="") as content:
        return [row for row in csv.DictReader(content) if wanted.items() <= row.items()]


def entries(name: str) -> dict[str, Any]:
    """Returns the bundle's entries with those of the committed configuration on top."""
    files = (ROOT / "bundles" / RESULTS[name][0] / "configs" / "compare.json", small(name))
    return {id_: entry for file in files for id_, entry in json.loads(file.read_text()).items()}


def small(name: str) -> Path:
    return ROOT / "docs" / "results" / name / "small.json"


@pytest.mark.parametrize("name", RESULTS)
def test_means_are_those_of_every_method_seed_and_unseen_site(name: str) -> None:
    metric = RESULTS[name][2]
    values = defaultdict(list)
    for row in rows(name, "scores", stage="final", role="unseen", metric=metric, **{"class": ""}):
        assert row["site"] == row["unseen_site"]
        values[row["method"], row["site"]].append(float(row["value"]))
    assert {method for method, _ in values} == set(entries(name)["methods"])
    assert len(values) == UNSEEN_SITES * len(entries(name)["methods"])
    assert all(len(seeds) == SEEDS for seeds in values.values())
    summary = rows(name, "summary", role="unseen", metric=metric)
    means = {(row["method"], row["site"]): float(row["mean"]) for row in summary if row["site"] != "every site"}
    assert means == pytest.approx({place: sum(seeds) / SEEDS for place, seeds in values.items()})


@pytest.mark.parametrize("name", RESULTS)
def test_the_page_says_what_the_networks_are(name: str) -> None:
    page = (ROOT / "docs" / "results" / name / "report.html").read_text("utf-8")
    runs = SEEDS * UNSEEN_SITES * len(entries(name)["methods"])
    assert f"{runs} runs." in page and "random weights" in page


@pytest.mark.real_data
@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images")
@pytest.mark.parametrize("name", RESULTS)
def test_the_configuration_fits_the_images(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    bundle, images, _ = RESULTS[name]
    config = [f"bundles/{bundle}/configs/compare.json", str(small(name))]
    workflow = create_workflow(
        config_file=config, dataset_dir=f"{os.environ['FEDMED_DATA']}/{images}", output_dir=str(tmp_path / "runs"),
        device="cpu",
    )  # fmt: skip
    planned = workflow.parser.get_parsed_content("comparison").planned()
    assert len(planned) == SEEDS * UNSEEN_SITES * len(entries(name)["methods"])
