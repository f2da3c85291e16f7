"""The comparison of every bundle: it finds every method of the bundle, each of them fits, and one runs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

BUNDLES = sorted((Path(__file__).parents[2] / "bundles").iterdir())


@pytest.fixture
def small(small_clip: dict[str, Any], small_sam: dict[str, Any], organ: dict[str, Any]) -> dict[str, Any]:
    """Overrides by id that make any method of the bundles small: they apply to those that have them."""
    sam = {**small_sam, "image_size": 32, "batch_size": 8}
    clip = {"clip": small_clip, "image_size": 16, "batch_size": 8}
    parts = {"facmic": clip, "fedsam": sam, "fedmsa": sam, "recipe": organ}
    return {f"{name}#{id_}": value for name, part in parts.items() for id_, value in part.items()}


def comparison(root: Path, small: dict[str, Any], **entries: Any) -> Any:
    """The bundle's own comparison of small networks."""
    kinds = {"_classification": "facmic", "_segmentation": "sam"}
    kind = next(kind for ending, kind in kinds.items() if root.name.endswith(ending))
    overrides = {id_: value for id_, value in small.items() if id_.startswith("facmic") == (kind == "facmic")}
    config = str(root / "configs" / "compare.json")
    return create_workflow(
        config_file=config, run_id="compare", bundle_root=str(root), device="cpu", overrides=overrides, **entries
    )


@pytest.mark.parametrize("root", BUNDLES, ids=lambda path: str(path.name))
def test_every_method_of_the_bundle_is_compared_and_fits(
    root: Path, small: dict[str, Any], sites_dir: Path, organ_sites: Path, tmp_path: Path
) -> None:
    classifies = root.name.endswith("_classification")
    data = sites_dir if classifies else organ_sites
    found = comparison(root, small, dataset_dir=str(data), output_dir=str(tmp_path / "runs"), seeds=[0], rounds=1)
    compared = found.parser.get_parsed_content("comparison")
    listed = {Path(files[-1]).stem for files in compared.methods.values()}
    overlays = sorted(path.stem for path in (root / "configs" / "methods").glob("*.json"))
    assert list(compared.methods)[: len(overlays) + 1] == [root.name.partition("_")[0], *overlays]
    planned = compared.planned()  # a method that does not fit is refused here
    sites = [path.name for path in data.glob("[!.]*")]
    expected = {(name, site) for name in compared.methods for site in sites}
    assert {(run.arm.method, run.unseen) for run in planned} == expected
    names = {run.arm.method: run.federation.method for run in planned}
    assert names == {name: name if name in listed else Path(run_root(compared, name)).name for name in names}
    assert not (tmp_path / "runs").exists()


def test_an_overlay_that_is_put_into_a_bundle_is_compared(tmp_path: Path, small: dict[str, Any]) -> None:
    root = tmp_path / "facmic_classification"
    shutil.copytree(next(path for path in BUNDLES if path.name == root.name), root)
    (root / "configs" / "methods" / "mine.json").write_text(json.dumps({"method": "mine"}))
    added = {"methods#theirs": ["configs/federated.json", "elsewhere/theirs.json"]}
    compared = comparison(root, small, **added).parser.get_parsed_content("comparison")
    assert list(compared.methods)[0] == "facmic" and list(compared.methods)[-3:] == ["moon", "zero_shot", "theirs"]
    assert compared.methods["mine"] == ["configs/federated.json", "configs/methods/mine.json"]
    chosen = {"methods": {"a": ["configs/federated.json"]}}
    compared = comparison(root, small, **chosen).parser.get_parsed_content("comparison")
    assert compared.methods == chosen["methods"]


def run_root(compared: Any, name: str) -> Path:
    """The folder of the bundle that a method without overlay is of."""
    return (Path(compared.bundle_root) / compared.methods[name][0]).resolve().parents[1]


def test_a_segmentation_alone_and_pooled(small: dict[str, Any], organ_sites: Path, tmp_path: Path) -> None:
    root = next(path for path in BUNDLES if path.name == "fedsam_segmentation")
    own = {id_: value for id_, value in small.items() if not id_.startswith("fedmsa")}
    workflow = comparison(
        root, own, dataset_dir=str(organ_sites), output_dir=str(tmp_path / "runs"), seeds=[0], rounds=1,
        sites=["harbour", "hillside", "unseen"], unseen_site="unseen", training=["alone", "pooled"],
        methods={"unet": ["configs/federated.json", "configs/methods/unet.json"]},
    )  # fmt: skip
    page = workflow.run()[0]
    folder = page.parent / "unet" / "seed_0" / "unseen"
    pooled = json.loads((folder / "pooled" / "pooled.json").read_text())
    alone = [json.loads((folder / "alone" / site / "metrics.json").read_text()) for site in ("harbour", "hillside")]
    central = json.loads((folder / "pooled" / "metrics.json").read_text())
    samples = sum(run["sites"][0]["samples"] for run in alone)
    assert central["sites"][0] == {"name": "pooled", "role": "training", "samples": samples}
    judged = {site: central["final"][site]["slices"] for site in central["final"] if site != "pooled"}
    assert judged == {site: alone[0]["final"][site]["slices"] for site in ("harbour", "hillside", "unseen")}
    assert set(pooled) == {"training", "validation"}
    with (page.parent / "summary.csv").open() as content:
        rows = [row for row in csv.DictReader(content) if row["metric"] == "dice"]
    assert {(row["training"], row["site"], row["role"]) for row in rows} == {
        (training, site, role)
        for training in ("alone", "pooled")
        for site, role in (("harbour", "training"), ("hillside", "training"), ("every site", "training"),
                           ("unseen", "unseen"), ("every site", "unseen"))
    }  # fmt: skip
    assert not (page.parent / "curves.csv").exists()
