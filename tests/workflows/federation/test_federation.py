"""A federation in one process: what it leaves, what it exchanges, whom it refuses, what a failing site does to it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from monai.bundle import create_workflow
from safetensors.torch import load_file

from fedmed_networks import FACMIC
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.in_process import InProcessEngine, build_engine
from fedmed_workflows.federation.rounds import FederationError
from fedmed_workflows.federation.run_folder import RunFolder


def federation(entries: dict[str, Any], **changes: Any) -> Federation:
    facmic = {**entries["facmic"], **changes.pop("facmic", {})}
    workflow = create_workflow(**copy.deepcopy({**entries, **changes, "facmic": facmic}))
    parsed: Federation = workflow.parser.get_parsed_content("federation")
    return parsed


def last_weights(folder: str | Path) -> dict[str, torch.Tensor]:
    last = json.loads((Path(folder) / "checkpoints" / "last.json").read_text())
    weights: dict[str, torch.Tensor] = load_file(Path(folder) / "checkpoints" / last["file"])
    return weights


def test_a_run_leaves_report_numbers_model_and_nothing_half_written(federated: dict[str, Any], small_clip: Any) -> None:
    result = federation(federated).run()
    folder = Path(federated["output_dir"])
    names = {"report.html", "metrics.csv", "metrics.json", "bytes.csv", "run.json", "model.pt", "model.json"}
    assert names <= {path.name for path in folder.iterdir()}
    assert [path for path in folder.rglob(".*") if path.name != ".lock"] == []
    network = FACMIC(["dots", "stripes"], clip=small_clip)
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    for name, value in last_weights(folder).items():
        assert torch.equal(network.state_dict()[name], value), name
    assert [entry["round"] for entry in result["history"]] == [0, 1, 2, 3]
    assert json.loads((folder / "metrics.json").read_text())["final"] == result["final"]
    assert result["final"]["unseen"]["images"] == 24 and result["final"]["unseen"]["split"] == "all"
    assert result["final"]["site_a"]["images"] == 2 and result["final"]["site_a"]["split"] == "test"
    assert result["initial"] != result["final"]


def test_only_the_attention_travels_and_its_bytes_are_counted(federated: dict[str, Any]) -> None:
    result = federation(federated).run()
    weights = last_weights(federated["output_dir"])
    assert set(weights) == set(result["manifest"]["tensors"])
    assert all(name.startswith("attention.") for name in weights)
    size = sum(value.numel() * value.element_size() for value in weights.values())
    sites = [site for entry in result["history"][1:] for site in entry["sites"].values()]
    assert {(site["sent_bytes"], site["received_bytes"], site["samples"]) for site in sites} == {(size, size, 20)}
    assert len(sites) == 2 * 3


def test_the_unseen_site_never_trains(federated: dict[str, Any]) -> None:
    result = federation(federated).run()
    assert not (Path(federated["output_dir"]) / "sites" / "unseen").exists()
    assert all("unseen" not in entry["sites"] for entry in result["history"][1:])
    assert all("unseen" in entry["validation"] for entry in result["history"])


@pytest.mark.parametrize(
    ("target", "transductive"),
    [("unseen", True), ("none", False), ("folder of unseen", True), ("folder of site_a", False), ("file", True)],
)
def test_targets(federated: dict[str, Any], tmp_path: Path, target: str, transductive: bool) -> None:
    if target.startswith("folder of "):
        target = str(Path(federated["dataset_dir"]) / target.removeprefix("folder of "))
    if target == "file":
        federation(federated, output_dir=str(tmp_path / "releasing")).run()
        target = str(tmp_path / "releasing" / "released" / "unseen.safetensors")
        assert set(load_file(target)) == {"features"}  # no image, no label, no file name
    result = federation(federated, facmic={"target": target}).run()
    assert any("transductive" in note for note in result["notes"]) == transductive
    plain = federation(federated, facmic={"target": "none"}, output_dir=str(tmp_path / "plain")).run()
    same = result["history"][1]["sites"]["site_a"]["loss"] == plain["history"][1]["sites"]["site_a"]["loss"]
    assert same == (target == "none")  # LMMD adds to the loss of every site that has a target


def test_a_site_s_update_depends_on_seed_site_and_round_alone(federated: dict[str, Any], tmp_path: Path) -> None:
    federation(federated, rounds=1, facmic={"target": "none"}).run()
    alone = federation(
        federated, rounds=1, sites=["site_b"], facmic={"target": "none"}, output_dir=str(tmp_path / "alone")
    )
    alone.run()
    of_both = torch.load(tmp_path / "run" / "sites" / "site_b" / "round_00001.pt", weights_only=True)
    of_one = torch.load(tmp_path / "alone" / "sites" / "site_b" / "round_00001.pt", weights_only=True)
    assert torch.equal(of_both["optimizer"]["state"][0]["exp_avg"], of_one["optimizer"]["state"][0]["exp_avg"])


def test_sites_share_one_frozen_encoder(federated: dict[str, Any]) -> None:
    engine, _, _ = build_engine(federation(federated))
    encoders = {id(site.network.visual) for site in [*engine.sites.values(), engine.unseen] if site}
    assert len(encoders) == 1
    assert len({id(site.network.attention) for site in engine.sites.values()}) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rounds": 4}, "rounds: found 3, expected 4"),
        ({"seed": 1}, "seed: found 0, expected 1"),
        ({"facmic": {"learning_rate": 0.1}}, "settings#learning_rate: found 0.001, expected 0.1"),
        ({"unseen_site": "site_b"}, "unseen_site: found 'unseen', expected 'site_b'"),
    ],
)
def test_a_folder_of_another_run_is_refused(federated: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    federation(federated).run()
    before = last_weights(federated["output_dir"])
    with pytest.raises(ValueError, match="belongs to another run") as refused:
        federation(federated, **changes).run()
    assert said in str(refused.value)
    assert all(torch.equal(value, before[name]) for name, value in last_weights(federated["output_dir"]).items())


def test_a_folder_that_no_run_made_is_refused(federated: dict[str, Any]) -> None:
    folder = Path(federated["output_dir"])
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="expected a new or empty folder"):
        federation(federated).run()
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_folder_where_a_process_runs_is_refused(federated: dict[str, Any]) -> None:
    folder = Path(federated["output_dir"])
    folder.mkdir()
    with FileLock(folder / ".lock"), pytest.raises(ValueError, match="another process is running there"):
        federation(federated).run()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rounds": 0}, "rounds: expected a whole number of at least 1, found 0"),
        ({"min_sites": 3}, "min_sites: found 3, expected at most the 2 sites"),
        ({"engine": "carrier pigeon"}, "engine: found 'carrier pigeon'"),
        ({"facmic": {"lerning_rate": 1}}, "setting 'facmic#lerning_rate'"),
        (
            {"facmic": {"batch_size": 21}},
            "site_a: found 20 training images after the split, expected at least one batch of 21",
        ),
        ({"unseen_site": "nowhere"}, "unseen site 'nowhere': not found"),
        ({"facmic": {"image_size": 17}}, "expected shape (B, 3, 16, 16), found (32, 3, 17, 17)"),
        ({"facmic": {"weights": "nowhere.pt"}}, "weights 'nowhere.pt'"),
    ],
)
def test_bad_settings_are_refused_before_training(
    federated: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(Exception) as refused:  # noqa: B017, the parser wraps errors of construction in its own
        federation(federated, **changes).run()
    chain: list[str] = []
    error: BaseException | None = refused.value
    while error is not None:
        chain.append(str(error))
        error = error.__cause__
    assert any(said in text for text in chain), chain
    assert not (Path(federated["output_dir"]) / "checkpoints").exists()


def test_a_start_that_bad_input_ended_does_not_block_the_folder(federated: dict[str, Any]) -> None:
    with pytest.raises((ValueError, RuntimeError), match="nowhere.pt"):
        federation(federated, facmic={**federated["facmic"], "weights": "nowhere.pt"}).run()
    assert federation(federated).run()["final"]


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Site b's features hold NaN from the start, so that its loss becomes NaN."""
    open_sites = InProcessEngine.open

    def poison(engine: InProcessEngine, settings: dict[str, Any]) -> Any:
        manifest = open_sites(engine, settings)
        engine.sites["site_b"].workflow.train_dataset.features.fill_(torch.nan)
        return manifest

    monkeypatch.setattr(InProcessEngine, "open", poison)


@pytest.mark.usefixtures("poisoned")
def test_a_loss_that_is_not_a_number_ends_the_site_s_round_and_keeps_the_aggregate(federated: dict[str, Any]) -> None:
    with pytest.raises(FederationError, match="site_b.*the loss became nan"):
        federation(federated).run()
    last = json.loads((Path(federated["output_dir"]) / "checkpoints" / "last.json").read_text())
    assert last["history"][-1]["round"] == 0
    assert all(torch.isfinite(value).all() for value in last_weights(federated["output_dir"]).values())


@pytest.mark.usefixtures("poisoned")
def test_enough_other_sites_carry_the_round(federated: dict[str, Any]) -> None:
    result = federation(federated, min_sites=1).run()
    for entry in result["history"][1:]:
        assert "the loss became nan" in entry["sites"]["site_b"]["error"]
        assert "error" not in entry["sites"]["site_a"]
    assert all(torch.isfinite(value).all() for value in last_weights(federated["output_dir"]).values())
    assert "the loss became nan" in (Path(federated["output_dir"]) / "report.html").read_text()


def test_a_checkpoint_that_does_not_match_the_manifest_is_refused(federated: dict[str, Any]) -> None:
    run = federation(federated)
    run.run()
    engine, manifest, _ = build_engine(run)
    with RunFolder(federated["output_dir"], run.identity()) as folder:
        weights, history = folder.resume(manifest) or ({}, [])
        name = "attention.0.weight"
        folder.keep({**weights, name: weights[name][:1]}, history[-1]["round"])
        folder.commit(history, manifest)
        with pytest.raises(ValueError, match=f"tensor {name}"):
            folder.resume(manifest)


def test_random_augmentation_is_drawn_from_seed_site_and_round(federated: dict[str, Any], tmp_path: Path) -> None:
    flip = {"_target_": "monai.transforms.RandFlipd", "keys": "image", "prob": 0.5, "spatial_axis": 2}
    overlay = tmp_path / "augment.json"
    chain = {"_target_": "monai.transforms.Compose", "transforms": ["@preprocessing", flip]}
    overlay.write_text(json.dumps({"train#preprocessing": chain}))
    augmented = {**federated, "train_config": ["configs/train.json", str(overlay)]}
    whole = federation(augmented)
    whole.run()
    broken = federation(augmented, output_dir=str(tmp_path / "broken"))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(InProcessEngine, "train", interrupted_in_round_3(InProcessEngine.train))
        broken.run()
    federation(augmented, output_dir=str(tmp_path / "broken")).run()
    plain = federation(federated, output_dir=str(tmp_path / "plain"))
    plain.run()
    ends = [
        last_weights(folder)["attention.0.weight"] for folder in (whole.output_dir, broken.output_dir, plain.output_dir)
    ]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def interrupted_in_round_3(train: Any) -> Any:
    def interrupted(engine: InProcessEngine, weights: Any, number: int) -> Any:
        if number == 3:
            raise KeyboardInterrupt
        return train(engine, weights, number)

    return interrupted
