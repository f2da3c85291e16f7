"""The same federation in NVFlare's simulator: the same bits as in one process, the same refusals, and its rounds in
TensorBoard and MLflow, read with their own readers, against the run's history."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient
from monai.bundle import create_workflow
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fedmed_workflows.federation.rounds import FederationError

SITES = ("site_a", "site_b", "unseen")

Series = dict[str, list[tuple[int, float]]]
"""By name of the figure, its value by round."""


def run(entries: dict[str, Any], engine: str, output_dir: Path) -> dict[str, Any]:
    workflow = create_workflow(**copy.deepcopy({**entries, "engine": engine, "output_dir": str(output_dir)}))
    result: dict[str, Any] = workflow.parser.get_parsed_content("federation").run()
    return result


def checkpoints(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {file.name: load_file(file) for file in sorted((folder / "checkpoints").glob("*.safetensors"))}


def assert_same_bits(one: Path, other: Path) -> None:
    ours, theirs = checkpoints(one), checkpoints(other)
    assert set(ours) == set(theirs) and len(ours) > 1
    for file, tensors in theirs.items():
        assert set(ours[file]) == set(tensors)
        assert all(torch.equal(ours[file][name], value) for name, value in tensors.items()), file
    models = [torch.load(folder / "model.pt", weights_only=True) for folder in (one, other)]
    assert all(torch.equal(models[0][name], value) for name, value in models[1].items())
    bundles = [{path.relative_to(folder): path for path in (folder / "bundle").rglob("*.*")} for folder in (one, other)]
    assert set(bundles[0]) == set(bundles[1])
    for name in (name for name in bundles[0] if name.suffix == ".json"):
        assert bundles[0][name].read_bytes() == bundles[1][name].read_bytes(), name


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


@pytest.fixture(scope="module")
def runs(
    processes: None, bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Folder and result of the same federation on both engines; the simulator shows its rounds elsewhere too."""
    root = tmp_path_factory.mktemp("engines")
    entries = {
        "config_file": str(bundle_root / "configs" / "federated.json"), "bundle_root": str(bundle_root),
        "dataset_dir": str(sites_dir), "unseen_site": "unseen", "rounds": 2, "device": "cpu",
        "facmic": {"target": "unseen", "clip": small_clip, "weights": None, "image_size": 16, "batch_size": 8},
    }  # fmt: skip
    tracked = {"in_process": None, "nvflare": ["tensorboard", "mlflow"]}
    return {
        engine: (root / engine, run({**entries, "track_with": track_with}, engine, root / engine))
        for engine, track_with in tracked.items()
    }


def test_facmic_ends_with_the_same_bits_and_the_same_report(runs: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    (here_dir, here), (there_dir, there) = runs["in_process"], runs["nvflare"]
    assert_same_bits(here_dir, there_dir)
    assert without_times(there["history"]) == without_times(here["history"])
    for part in ("initial", "final", "sites", "manifest", "notes", "class_names"):
        assert there[part] == here[part], part
    assert there["settings"]["engine"] == "nvflare"
    assert (there_dir / "report.html").is_file()


def expected(history: list[dict[str, Any]], site: str) -> Series:
    """Returns the series of the history's own numbers, figure by figure."""
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
def test_tensorboard_shows_every_round_of_every_site(runs: dict[str, tuple[Path, dict[str, Any]]], site: str) -> None:
    folder, history = runs["nvflare"][0], runs["nvflare"][1]["history"]
    events = EventAccumulator(str(folder / "tracking" / "tensorboard" / site))
    events.Reload()
    found = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert len(history) == 3
    assert ("train/loss" in found) == (site != "unseen") and "validation/val_accuracy" in found
    assert_close(found, expected(history, site))


@pytest.mark.parametrize("site", SITES)
def test_mlflow_has_a_run_for_every_site(runs: dict[str, tuple[Path, dict[str, Any]]], site: str) -> None:
    folder, history = runs["nvflare"][0], runs["nvflare"][1]["history"]
    client = MlflowClient(f"sqlite:///{folder / 'tracking' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("facmic_classification")
    shown = client.search_runs([experiment.experiment_id])
    assert len(shown) == 3
    (own,) = [found for found in shown if found.info.run_name.startswith(f"{site}-")]
    found = {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(own.info.run_id, name)]
        for name in own.data.metrics
    }
    assert_close(found, expected(history, site))


@pytest.mark.processes
def test_a_run_is_taken_up_by_the_other_engine_with_what_the_server_keeps_and_a_refusal_names_the_site(
    federated: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregation = {"_target_": "fedmed_workflows.aggregation.FedAdam", "learning_rate": 0.02}
    entries = {**federated, "aggregation": aggregation, "rounds": 2}
    whole = run(entries, "in_process", tmp_path / "whole")
    break_off(entries, tmp_path / "broken", monkeypatch)
    (state,) = (tmp_path / "broken" / "sites" / "site_b").glob("round_00001.pt")
    hidden = state.rename(state.with_suffix(".hidden"))
    with pytest.raises(FederationError, match="site_b.*the state after round 1 is missing"):
        run(entries, "nvflare", tmp_path / "broken")
    hidden.rename(state)
    result = run(entries, "nvflare", tmp_path / "broken")
    assert_same_bits(tmp_path / "broken", tmp_path / "whole")
    assert_same_file("state_00002.safetensors", tmp_path / "broken", tmp_path / "whole")
    for part in ("initial", "final", "sites", "manifest", "notes"):
        assert result[part] == whole[part], part


def break_off(entries: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs it in this process as far as the training of round 2."""
    from fedmed_workflows.federation.in_process import InProcessEngine

    train = InProcessEngine.train
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            InProcessEngine, "train", lambda engine, weights, number: _until_2(train, engine, weights, number)
        )
        run(entries, "in_process", folder)


def assert_same_file(name: str, *folders: Path) -> None:
    ours, theirs = (next(folder.rglob(name)).read_bytes() for folder in folders)
    assert ours == theirs


def _until_2(train: Any, engine: Any, weights: Any, number: int) -> Any:
    if number == 2:
        raise KeyboardInterrupt
    return train(engine, weights, number)


@pytest.mark.processes
def test_private_updates_their_epsilon_and_what_stays_at_a_site_are_those_of_one_process(
    federated: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumes FedBN, whose normalisations stay at their sites, after round 1 with the sites' secrets."""
    numbers = {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-5}
    private = {
        **federated, "aggregation": {"_target_": "fedmed_workflows.aggregation.FedBN"},
        "privacy": {"_target_": "fedmed_workflows.GaussianUpdate", **numbers},
    }  # fmt: skip
    break_off(private, tmp_path / "here", monkeypatch)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there, here = run(private, "nvflare", tmp_path / "there"), run(private, "in_process", tmp_path / "here")
    assert [entry.get("epsilon") for entry in there["history"]] == [entry.get("epsilon") for entry in here["history"]]
    assert there["history"][3]["epsilon"] > there["history"][1]["epsilon"] > 0
    assert_same_bits(tmp_path / "here", tmp_path / "there")
    assert_same_file("site_b/model.pt", tmp_path / "here", tmp_path / "there")
    assert "loss" not in there["history"][1]["sites"]["site_a"]


def test_what_the_engine_leaves_of_the_job_is_configuration_and_tensors(
    federated: dict[str, Any], tmp_path: Path
) -> None:
    from fedmed_workflows.nvflare.run.production import Production

    workflow = create_workflow(**copy.deepcopy({**federated, "dataset_dir": "none", "sites": ["site_a", "site_b"],
                                                "class_names": ["dots", "stripes"]}))  # fmt: skip
    production = Production(workflow.parser.get_parsed_content("federation"))
    job = Path(production.export(str(tmp_path / "jobs")))
    files = {str(path.relative_to(job)) for path in job.rglob("*") if path.is_file()}
    assert files == {
        "meta.json", "server/config/config_fed_server.json", "server/config/federation.json",
        "server/config/initial.safetensors", "site/config/config_fed_client.json", "site/config/federation.json",
    }  # fmt: skip
    meta = json.loads((job / "meta.json").read_text())
    assert meta["deploy_map"] == {"server": ["server"], "site": ["site_a", "site_b", "unseen"]}
    assert str(tmp_path) not in (job / "site" / "config" / "federation.json").read_text()
    tensors = load_file(job / "server" / "config" / "initial.safetensors")
    assert all(name.startswith("attention.") for name in tensors)


def test_a_job_in_which_each_site_is_the_unseen_one_is_refused(federated: dict[str, Any], tmp_path: Path) -> None:
    from fedmed_workflows.nvflare.run.production import Production

    workflow = create_workflow(**copy.deepcopy({**federated, "unseen_site": "all"}))
    production = Production(workflow.parser.get_parsed_content("federation"))
    with pytest.raises(ValueError, match="unseen_site 'all': a job is one run"):
        production.export(str(tmp_path / "jobs"))
    assert not (tmp_path / "jobs").exists()
