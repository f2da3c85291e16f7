"""The rounds in TensorBoard and MLflow, read with their own readers, against the run's history."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from monai.bundle import create_workflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedmed_workflows.engines.nvflare_tracking import receivers, scalars

SITES = ("site_a", "site_b", "unseen")

Series = dict[str, list[tuple[int, float]]]
"""By name of the figure, its value by round."""


@pytest.fixture(scope="module")
def run(
    bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, Any]]]:
    """A run in the simulator with both, its folder and its history."""
    folder = tmp_path_factory.mktemp("tracked") / "run"
    workflow = create_workflow(
        config_file=str(bundle_root / "configs" / "federated.json"), bundle_root=str(bundle_root),
        dataset_dir=str(sites_dir), unseen_site="unseen", output_dir=str(folder), rounds=2, device="cpu",
        engine="nvflare", track_with=["tensorboard", "mlflow"],
        facmic={"target": "none", "clip": small_clip, "weights": None, "image_size": 16, "batch_size": 8},
    )  # fmt: skip
    return folder, workflow.parser.get_parsed_content("federation").run()["history"]


def expected(history: list[dict[str, Any]], site: str) -> Series:
    """Of the history's own numbers, figure by figure."""
    series: Series = {}
    for entry in history:
        number = entry["round"]
        for name, value in entry["validation"][site].items():
            series.setdefault(f"validation/{name}", []).append((number, value))
        if number:
            series.setdefault("round/seconds", []).append((number, entry["seconds"]))
            series.setdefault("round/contributors", []).append((number, 2.0))
        for name, value in entry.get("sites", {}).get(site, {}).items():
            series.setdefault(f"train/{name}", []).append((number, value))
        if site in entry.get("sites", {}):
            series.setdefault("train/contributed", []).append((number, 1.0))
    return series


def assert_close(found: Series, series: Series) -> None:
    assert set(found) == set(series)
    for name, values in series.items():
        assert [number for number, _ in found[name]] == [number for number, _ in values], name
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in values], rel=1e-6), name


@pytest.mark.parametrize("site", SITES)
def test_tensorboard_shows_every_round_of_every_site(run: tuple[Path, list[dict[str, Any]]], site: str) -> None:
    folder, history = run
    events = EventAccumulator(str(folder / "tracking" / "tensorboard" / site))
    events.Reload()
    found = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert len(history) == 3
    assert ("train/loss" in found) == (site != "unseen") and "validation/val_accuracy" in found
    assert_close(found, expected(history, site))


@pytest.mark.parametrize("site", SITES)
def test_mlflow_has_a_run_for_every_site(run: tuple[Path, list[dict[str, Any]]], site: str) -> None:
    folder, history = run
    client = MlflowClient(f"sqlite:///{folder / 'tracking' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("facmic_classification")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    (own,) = [found for found in runs if found.info.run_name.startswith(f"{site}-")]
    found = {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(own.info.run_id, name)]
        for name in own.data.metrics
    }
    assert_close(found, expected(history, site))


def test_a_site_that_failed_shows_that_it_did_not_contribute() -> None:
    entry = {
        "round": 2,
        "seconds": 1.5,
        "sites": {"a": {"received_bytes": 8, "error": "no"}, "b": {"loss": float("nan"), "samples": 4}},
        "validation": {"b": {"accuracy": 0.5}},
    }
    assert set(scalars(entry, ["a", "b"])) == {
        ("a", "train/received_bytes", 8.0), ("a", "train/contributed", 0.0),
        ("b", "train/samples", 4.0), ("b", "train/contributed", 1.0), ("b", "validation/accuracy", 0.5),
        *((site, *value) for site in "ab" for value in (("round/seconds", 1.5), ("round/contributors", 1.0))),
    }  # fmt: skip


def test_a_tracking_that_nobody_knows_is_refused(federated: dict[str, Any]) -> None:
    with pytest.raises(Exception) as error:
        create_workflow(**copy.deepcopy({**federated, "track_with": "paper"})).parser.get_parsed_content("federation")
    assert "track_with: found ['paper'], expected some of ['tensorboard', 'mlflow']" in str(error.value.__cause__)


def test_one_process_has_no_receivers(federated: dict[str, Any]) -> None:
    federation = create_workflow(**copy.deepcopy({**federated, "track_with": "mlflow"})).parser.get_parsed_content(
        "federation"
    )
    with pytest.raises(ValueError, match="expected the engine 'nvflare'"):
        federation.run()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvflare.app_opt.tracking.mlflow.mlflow_receiver", None)
    with pytest.raises(ValueError, match="track_with 'mlflow': expected its package to be installed"):
        receivers(["mlflow"], "experiment")
