"""A comparison on tiny sites: broken off and taken up, and its tables computed again by hand."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import create_workflow
from scipy import stats

from fedmed_workflows import SiteAlgo
from tests.workflows.comparison.compared import compare

METHODS, SEEDS, UNSEEN = ("facmic", "momenta"), (0, 1), ("site_b", "unseen")
"""As in the fixture."""
FITS = 4
"""Calls of a site's round in each run: two sites, two rounds."""


def counted(patch: pytest.MonkeyPatch, end: int = 1_000) -> list[str]:
    """Has a site's round end as a pressed Ctrl-C would end it after so many; the list of those there were."""
    fit, fits = SiteAlgo.fit_round, list[str]()

    def counting(site: SiteAlgo, weights: Any, number: int) -> Any:
        if len(fits) == end:
            raise KeyboardInterrupt
        fits.append(site.site)
        return fit(site, weights, number)

    patch.setattr(SiteAlgo, "fit_round", counting)
    return fits


@pytest.fixture(scope="module")
def folder(comparison: dict[str, Any]) -> Path:
    """The folder of a comparison that was broken off in round 2 of its third run, and taken up."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        counted(patch, end=2 * FITS + 3)
        compare(comparison)
    with pytest.MonkeyPatch.context() as patch:
        fits = counted(patch)
        page = compare(comparison)
    assert len(fits) == 8 * FITS - 2 * FITS - 2  # two runs were over, and one round of the third
    return page.parent


def test_what_is_over_is_not_run_again(comparison: dict[str, Any], folder: Path) -> None:
    before = (folder / "scores.csv").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        fits = counted(patch)
        compare(comparison)
    assert not fits and (folder / "scores.csv").read_bytes() == before


def test_a_run_is_the_federation_s_own(comparison: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    overlay = comparison["methods"]["momenta"][1]
    config = [str(Path(comparison["bundle_root"]) / "configs" / "federated.json"), overlay]
    names = ("bundle_root", "dataset_dir", "rounds", "device")
    federation = {**{name: comparison[name] for name in names}, **comparison["overrides"], "config_file": config}
    create_workflow(**federation, unseen_site="site_b", output_dir=str(tmp_path / "run")).run()
    by_itself = json.loads((tmp_path / "run" / "metrics.json").read_text())
    compared = result(folder, "momenta", 0, "site_b")  # the one that was broken off
    assert compared["final"] == by_itself["final"] and compared["settings"] == by_itself["settings"]
    own = folder / "momenta" / "seed_0" / "site_b" / "federated"
    assert not [file for file in own.rglob("*") if file.suffix in (".pt", ".safetensors")]
    assert len(list((folder / "features").rglob("*.safetensors"))) == 72  # every image was encoded once


def result(folder: Path, method: str, seed: int, unseen: str) -> dict[str, Any]:
    file = folder / method / f"seed_{seed}" / unseen / "federated" / "metrics.json"
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def value(folder: Path, method: str, seed: int, unseen: str, site: str, metric: str) -> float:
    return float(result(folder, method, seed, unseen)["final"][site]["metrics"][metric]["value"])


@pytest.mark.parametrize("metric", ["balanced_accuracy", "ece"])
def test_summary_by_hand(folder: Path, metric: str) -> None:
    found = {
        (row["method"], row["site"], row["role"]): [float(row[name]) for name in ("mean", "low", "high")]
        for row in rows(folder / "summary.csv")
        if row["metric"] == metric
    }
    for method in METHODS:
        by_seed = np.array([[value(folder, method, seed, site, site, metric) for site in UNSEEN] for seed in SEEDS])
        for column, site in enumerate(UNSEEN):
            assert found[method, site, "unseen"] == pytest.approx(t_interval(by_seed[:, column]))
        assert found[method, "every site", "unseen"] == pytest.approx(t_interval(by_seed.mean(axis=1)))
        trained = [np.mean([value(folder, method, s, u, "site_a", metric) for u in UNSEEN]) for s in SEEDS]
        assert found[method, "site_a", "training"] == pytest.approx(t_interval(np.array(trained)))
        other = [value(folder, method, seed, "unseen", "site_b", metric) for seed in SEEDS]
        assert found[method, "site_b", "training"] == pytest.approx(t_interval(np.array(other)))


def t_interval(seeds: np.ndarray) -> list[float]:
    mean, half = seeds.mean(), stats.sem(seeds) * stats.t(len(seeds) - 1).ppf(0.975)
    return [mean, mean - half, mean + half]


def test_page_and_tests_by_hand(folder: Path, read_page: Any) -> None:
    page = read_page(folder / "report.html")
    assert "2 methods, 2 seeds (0, 1), 2 sites left out of training in turn, 2 classes: 8 runs." in page.text
    assert "CLIP has random weights" in page.text
    (test,) = rows(folder / "tests.csv")
    keys = [(seed, site) for seed in SEEDS for site in UNSEEN]
    pairs = [[value(folder, method, *key, key[1], "balanced_accuracy") for method in METHODS] for key in keys]
    assert int(test["pairs"]) == 4 and test["t"] == "" and test["refused"] == "n is below 6"
    assert float(test["difference"]) == pytest.approx(np.mean([first - second for first, second in pairs]))
    means = [np.mean([pair[index] for pair in pairs]) for index in range(2)]
    shown = [next(row for row in page.rows if row[0] == method) for method in METHODS]
    assert [row[3].split()[0] for row in shown] == [f"{mean:.3f}" for mean in means]
    assert all((folder / attrs["href"]).is_file() for tag, attrs in page.tags if tag == "a")
    costs = {row["method"]: row for row in rows(folder / "costs.csv")}
    update = result(folder, "facmic", 0, "unseen")["manifest"]["bytes"]
    assert float(costs["facmic"]["bytes"]) == update * 2 * 2 * 2  # both ways, two sites, two rounds
    assert 1e8 < float(costs["facmic"]["peak_memory_bytes"]) < 1e10


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as content:
        return list(csv.DictReader(content))


def test_a_run_that_fails_names_itself_and_leaves_what_was_done(
    comparison: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = SiteAlgo.fit_round

    def failing(site: SiteAlgo, weights: Any, number: int) -> Any:
        if "momenta" in str(site.state.folder) and site.site == "site_a":
            raise ValueError("the lights went out")
        return fit(site, weights, number)

    monkeypatch.setattr(SiteAlgo, "fit_round", failing)
    with pytest.raises(RuntimeError) as failed:
        compare(comparison, output_dir=str(tmp_path / "runs"), unseen_site="unseen", seeds=[0], rounds=1)
    said = str(failed.value.__cause__)
    assert "run momenta, seed 0, unseen site 'unseen': round 1: 1 sites contributed" in said
    assert (tmp_path / "runs" / "facmic" / "seed_0" / "unseen" / "federated" / "report.html").is_file()
    assert not (tmp_path / "runs" / "report.html").exists()


@pytest.mark.parametrize("changed", ["rounds", "data"])
def test_a_folder_of_other_settings_or_data_is_refused_before_training(
    comparison: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.setattr(SiteAlgo, "fit_round", lambda *_: pytest.fail("trained"))
    other: dict[str, Any] = {"rounds": 3}
    if changed == "data":
        shutil.copytree(comparison["dataset_dir"], tmp_path / "sites")
        (tmp_path / "sites" / "site_a" / "dots" / "0.png").unlink()
        other = {"dataset_dir": str(tmp_path / "sites")}
    # A seed more: its runs would be new, and none of them starts.
    with pytest.raises(RuntimeError) as refused:
        compare(comparison, seeds=[2, 1, 0], **other)
    assert "facmic, seed 1, unseen site 'site_b': output_dir" in str(refused.value.__cause__)
    assert f"belongs to another run: {changed}: found" in str(refused.value.__cause__)
    assert not (folder / "facmic" / "seed_2").exists()
