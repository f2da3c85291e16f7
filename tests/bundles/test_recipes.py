"""The recipes of the paper's five federations, on small files laid out as each expects: each trains a round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

from tests.paper_sites import RECIPES, VOLUMES, write_recipe, write_volumes

ROOT = Path(__file__).parents[2] / "bundles" / "fedmsa_segmentation"


def entries(name: str, folder: Path, small_sam: dict[str, Any], **changed: Any) -> dict[str, Any]:
    configs = ROOT / "configs"
    method = {**small_sam, "weights": None, "learning_rate": 1e-3, "batch_size": 8}
    return {
        "config_file": [str(configs / "federated.json"), str(configs / "recipes" / f"{name}.json")],
        "bundle_root": str(ROOT), "dataset_dir": str(folder / "data"), "output_dir": str(folder / "run"), "rounds": 1,
        "device": "cpu", "fedmsa": method, **changed,
    }  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_on_its_layout(name: str, tmp_path: Path, small_sam: dict[str, Any]) -> None:
    sites, values, samples = RECIPES[name]
    write_recipe(tmp_path / "data", name)
    result = create_workflow(**entries(name, tmp_path, small_sam, unseen_site=sites[0])).run()[0]
    channels = list(dict.fromkeys(channel for made in values.values() for channel in made))
    assert result["class_names"] == channels
    assert {site["name"]: site["samples"] for site in result["sites"]} == {
        site: 0 if site == sites[0] else samples for site in sites
    }
    unseen = result["final"][sites[0]]
    assert unseen["images"] == VOLUMES and set(unseen["classes"]) == set(channels)
    assert all(value["label"] == 0 for empty in unseen["empty"].values() for value in [empty["images"]])


def test_a_recipe_runs_each_site_in_turn(tmp_path: Path, small_sam: dict[str, Any]) -> None:
    sites, _, _ = RECIPES["fundus"]
    write_recipe(tmp_path / "data", "fundus")
    results = create_workflow(**entries("fundus", tmp_path, small_sam)).run()[0]
    assert list(results) == sites
    report = (tmp_path / "run" / "report.html").read_text()
    assert all(f"{site}/report.html" in report for site in sites)
    metrics = json.loads((tmp_path / "run" / "G1020" / "metrics.json").read_text())
    assert metrics["final"]["G1020"]["split"] == "all" and metrics["final"]["ORIGA"]["split"] == "validation"


def test_a_value_that_the_recipe_does_not_know_is_refused(tmp_path: Path, small_sam: dict[str, Any]) -> None:
    sites, _, _ = RECIPES["fets2022"]
    for site in sites:
        write_volumes(tmp_path / "data" / site, [1, 3 if site == "21" else 4])
    with pytest.raises(RuntimeError) as refused:
        create_workflow(**entries("fets2022", tmp_path, small_sam, unseen_site="1")).run()
    said = str(refused.value.__cause__)
    assert "site '21'" in said and "found the label values 3, expected [0, 1, 2, 4]" in said and "Case0" in said
