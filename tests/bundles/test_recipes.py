"""The recipes of the paper's five federations, on small files laid out as each expects: each trains a round."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from monai.bundle import create_workflow
from PIL import Image

ROOT = Path(__file__).parents[2] / "bundles" / "fedmsa_segmentation"
VOLUMES = 3

RECIPES: dict[str, tuple[list[str], dict[int, list[str]], int]] = {
    # sites in alphabetical order; label values with the channels they make; training slices of two volumes
    "prostate": (["BIDMC", "HK", "I2CVB", "ISBI", "ISBI_1.5", "UCL"], {1: ["prostate"], 2: ["prostate"]}, 12),
    "fets2022": (["1", "18", "21", "6"], {1: ["tumour_core"], 2: [], 4: ["tumour_core"]}, 8),
    "fundus": (["Drishti-GS1", "G1020", "ORIGA", "REFUGE"], {1: ["optic_disc"], 2: ["optic_cup"]}, 2),
    "nuclei": (
        ["MoNuSAC2018", "MoNuSAC2020", "PanNuke_adrenal_gland", "PanNuke_bile_duct", "PanNuke_oesophagus",
         "PanNuke_uterus", "TNBC"],
        {1: ["nucleus"], 700: ["nucleus"]}, 2,
    ),
    "ct_lung": (["1", "2", "3", "4", "5"], {255: ["lung"]}, 12),
}  # fmt: skip


def write_volumes(site: Path, values: list[int]) -> None:
    """Volumes of six slices of 4 mm; the label, all its values side by side, in the slices 2 and 3."""
    affine, random = np.diag([1.0, 1.0, 4.0, 1.0]), np.random.default_rng(0)
    for number in range(VOLUMES):
        image = random.normal(100, 20, (32, 32, 6)).astype(np.float32)
        label = np.zeros(image.shape, np.int16)
        for place, value in enumerate(values):
            label[8 + 4 * place : 12 + 4 * place, 8:24, 2:4] = value
        for folder, array in (("images", image + 50 * label), ("labels", label)):
            (site / folder).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, affine), site / folder / f"Case{number:02}.nii.gz")


def write_pictures(site: Path, values: list[int]) -> None:
    """Coloured pictures and grey labels of 16 bits."""
    random = np.random.default_rng(0)
    for number in range(VOLUMES):
        label = np.zeros((40, 48), np.uint16)
        for place, value in enumerate(values):
            label[8 + 8 * place : 16 + 8 * place, 8:32] = value
        colours = random.integers(0, 90, (40, 48, 3)) + 100 * (label > 0)[..., None]
        for folder in ("images", "labels"):
            (site / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours.astype(np.uint8)).save(site / "images" / f"{number}.png")
        Image.fromarray(label).save(site / "labels" / f"{number}.png")


WRITERS: dict[str, Callable[[Path, list[int]], None]] = {
    name: write_pictures if name in ("fundus", "nuclei") else write_volumes for name in RECIPES
}


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
    for site in sites:
        WRITERS[name](tmp_path / "data" / site, list(values))
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
    sites, values, _ = RECIPES["fundus"]
    for site in sites:
        write_pictures(tmp_path / "data" / site, list(values))
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
