"""A network trained at one site alone, and at one place on all sites' training images: what trains, who is judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow
from safetensors.torch import load_file

from fedmed_workflows import SiteAlgo


def run(entries: dict[str, Any], **changed: Any) -> dict[str, Any]:
    result: dict[str, Any] = create_workflow(**{**entries, **changed}).run()[0]
    return result


def test_alone_is_a_federation_of_one_site_where_all_are_judged(federated: dict[str, Any], tmp_path: Path) -> None:
    alone = run(federated, training="site_a")
    assert [(site["name"], site["role"]) for site in alone["sites"]] == [
        ("site_a", "training"), ("site_b", "observed"), ("unseen", "unseen"),
    ]  # fmt: skip
    assert set(alone["final"]) == set(alone["history"][-1]["validation"]) == {"site_a", "site_b", "unseen"}
    assert alone["final"]["site_b"]["split"] == "test" and alone["final"]["unseen"]["split"] == "all"
    assert [*alone["history"][1]["sites"]] == ["site_a"]
    note = "Trained at site_a alone: the other sites were only evaluated, and no tensor was exchanged."
    assert note in alone["notes"]
    single = run(federated, sites=["site_a"], output_dir=str(tmp_path / "single"))
    last = "checkpoints/round_00003.safetensors"
    assert (Path(federated["output_dir"]) / last).read_bytes() == (tmp_path / "single" / last).read_bytes()
    assert single["final"]["unseen"] == alone["final"]["unseen"]


def test_each_site_trains_alone(federated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    results, folder = run(federated, training="alone", rounds=1), Path(federated["output_dir"])
    trained = {site: result["sites"][0]["name"] for site, result in results.items()}
    assert trained == {"site_a": "site_a", "site_b": "site_b"}
    assert all((folder / site / "report.html").is_file() for site in results)
    monkeypatch.setattr(SiteAlgo, "fit_round", lambda *_: pytest.fail("a round was run again"))
    again = run(federated, training="alone", rounds=1)
    assert all(again[site]["final"] == results[site]["final"] for site in results)


def test_pooled_trains_on_every_site_s_training_images(federated: dict[str, Any]) -> None:
    pooled = run(federated, training="pooled", **{"federation#keep_network": False})
    folder = Path(federated["output_dir"])
    assert [(site["name"], site["role"]) for site in pooled["sites"]] == [
        ("pooled", "training"), ("site_a", "observed"), ("site_b", "observed"), ("unseen", "unseen"),
    ]  # fmt: skip
    listed = json.loads((folder / "pooled.json").read_text())
    parts = ("training", "validation", "test")
    images = {part: [Path(item["image"]).parts[-3:] for item in listed[part]] for part in parts}
    assert {part: len(names) for part, names in images.items()} == {"training": 40, "validation": 4, "test": 4}
    assert len({name for names in images.values() for name in names}) == 48
    assert {site for names in images.values() for site, *_ in names} == {"site_a", "site_b"}
    assert pooled["sites"][0]["samples"] == 40 and pooled["final"]["pooled"]["images"] == 4
    own = [pooled["final"][site] for site in ("site_a", "site_b")]
    assert [score["images"] for score in own] == [2, 2]
    total = [[sum(cell) for cell in zip(*rows)] for rows in zip(*(score["confusion"] for score in own))]
    assert total == pooled["final"]["pooled"]["confusion"]  # the same test images, once more


def test_without_its_network_a_run_leaves_its_numbers(federated: dict[str, Any]) -> None:
    federation = create_workflow(**federated).parser
    federation["federation#keep_network"] = False
    federation.get_parsed_content("federation").run()
    found = {path.name for path in Path(federated["output_dir"]).iterdir()}
    assert {"report.html", "metrics.json", "run.json"} <= found and not {"model.pt", "model.json", "bundle"} & found


def test_where_it_trained_is_part_of_the_run(federated: dict[str, Any]) -> None:
    run(federated, training="site_b", rounds=1)
    with pytest.raises(RuntimeError) as refused:
        run(federated, training="site_a", rounds=1)
    assert "training: found 'site_b', expected 'site_a'" in str(refused.value.__cause__)


def test_each_other_site_is_unseen_in_turn(federated: dict[str, Any]) -> None:
    federated["facmic"]["target"] = "none"
    results = run(federated, training="site_a", unseen_site="all", rounds=1)
    assert [*results] == ["site_b", "unseen"]
    assert results["unseen"]["sites"][0] == {"name": "site_a", "role": "training", "samples": 20}


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"training": "site_c"}, "'site_c', expected one of ['federated', 'alone', 'pooled', 'site_a', 'site_b']"),
        ({"training": "unseen"}, "training: found 'unseen'"),
        ({"training": "pooled", "shifts": {"site_a": {"gamma": 1.5}}}, "found shifts of ['site_a'], expected none"),
        ({"training": "pooled", "engine": "nvflare"}, "'pooled': one place trains; found the engine 'nvflare'"),
    ],
)
def test_a_training_that_cannot_be_is_refused(federated: dict[str, Any], changed: dict[str, Any], said: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        run(federated, **changed)
    assert said in str(refused.value.__cause__)
    assert not Path(federated["output_dir"]).exists()


def test_a_job_across_hospitals_trains_across_them(federated: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as refused:
        run(federated, training="pooled", run_id="export", job_dir=str(tmp_path / "jobs"))
    assert "training 'pooled': a job trains across its sites, expected 'federated'" in str(refused.value.__cause__)
    assert not (tmp_path / "jobs").exists()


def test_a_site_of_the_name_is_refused(federated: dict[str, Any], sites_dir: Path, tmp_path: Path) -> None:
    for name, site in (("pooled", "site_a"), ("site_b", "site_b"), ("unseen", "unseen")):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(sites_dir / site)
    with pytest.raises(RuntimeError) as refused:
        run(federated, dataset_dir=str(tmp_path / "data"), training="pooled")
    assert "a site is named 'pooled', expected another name for it" in str(refused.value.__cause__)


def test_an_aggregation_of_several_sites_does_not_apply(federated: dict[str, Any]) -> None:
    last = Path(federated["output_dir"]) / "checkpoints" / "round_00001.safetensors"
    aggregation = {"_target_": "fedmed_workflows.aggregation.FedAdam", "learning_rate": 10.0}
    run(federated, training="site_a", rounds=1, aggregation=aggregation, min_sites=2)
    state = torch.load(Path(federated["output_dir"]) / "sites" / "site_a" / "round_00001.pt", weights_only=True)
    assert state["epoch"] == 1 and max(float(value.abs().max()) for value in load_file(last).values()) < 10
