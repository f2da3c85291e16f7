"""FedBN: what trains and stays, what travels, whose normalisations score what, and what a restart keeps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow
from monai.networks.nets import UNet
from segment_anything.modeling.common import LayerNorm2d
from torch import nn

from fedmed_workflows.aggregation import FedBN
from fedmed_workflows.exchange.local_normalization import keep_normalizations_local
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.trainable import exchanged_tensors, trainable_parameters, trainable_tensors
from fedmed_workflows.exchange.weights import Update, get_weights, set_weights
from fedmed_workflows.federation.site.site_algo import SiteAlgo

FEDBN = {"_target_": "fedmed_workflows.aggregation.FedBN"}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NORMALIZATION = {f"attention.1.{name}" for name in ("weight", "bias", *STATISTICS)}
OTHERS = {f"attention.{layer}.{name}" for layer in (0, 3) for name in ("weight", "bias")}


@pytest.mark.parametrize(
    ("values", "samples", "expected"),
    [
        pytest.param([[1.0, 2.0]], [7], [1.0, 2.0], id="one site"),
        pytest.param([[0.0, 4.0], [4.0, 8.0]], [1, 3], [2.0, 6.0], id="all sites alike, whatever their samples"),
        pytest.param([[3.0], [6.0], [0.0]], [1, 1, 100], [3.0], id="three sites"),
        pytest.param([5, 9, 2], [100, 1, 1], 9, id="a count"),
    ],
)
def test_aggregate(aggregated: Any, values: list[Any], samples: list[int], expected: Any) -> None:
    updates = {
        f"site{index}": Update({"layer": torch.tensor(value)}, count)
        for index, (value, count) in enumerate(zip(values, samples, strict=True))
    }
    assert torch.equal(aggregated(FedBN(), updates)["layer"], torch.tensor(expected))


@pytest.mark.parametrize(
    ("network", "local"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), {"1.weight", "1.bias"}),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.GroupNorm(2, 4)), {"1.weight", "1.bias"}),
        (nn.Sequential(nn.Conv2d(1, 4, 1), LayerNorm2d(4)), {"1.weight", "1.bias"}),
        (
            nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)),
            {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"},
        ),
    ],
)
def test_normalizations_train_and_stay_and_all_else_that_trains_travels(network: nn.Module, local: set[str]) -> None:
    before, digest = set(exchanged_tensors(network)), Manifest.of(network).frozen
    keep_normalizations_local(network)
    assert set(exchanged_tensors(network)) == before - local == {"0.weight", "0.bias"}
    assert set(trainable_tensors(network)) == before
    assert len(trainable_parameters(network)) == 4
    assert Manifest.of(network).frozen == digest  # what stays is not frozen: it differs from site to site
    kept = {name: value.clone() for name, value in network.state_dict().items() if name in local}
    set_weights(network, {name: value + 1 for name, value in get_weights(network).items()})
    assert all(torch.equal(network.state_dict()[name], value) for name, value in kept.items())


def test_a_frozen_normalization_is_none_that_stays() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).requires_grad_(False), nn.LayerNorm(2))
    keep_normalizations_local(network)
    assert set(trainable_tensors(network)) - set(exchanged_tensors(network)) == {"2.weight", "2.bias"}


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Sequential(nn.Linear(2, 2)), "Sequential: found no normalisation that trains"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).requires_grad_(False)), "found no normalisation that trains"),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False)), "found no normalisation that trains"),
        (UNet(2, 1, 1, (4, 8), (2,)), "UNet: found no normalisation that trains"),  # MONAI's has no parameters there
        (nn.Sequential(nn.BatchNorm1d(2)), "found nothing that trains but normalisations"),
    ],
)
def test_a_network_that_leaves_nothing_to_stay_or_to_send_is_refused(network: nn.Module, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        keep_normalizations_local(network)


def run(entries: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    workflow = create_workflow(**copy.deepcopy({**entries, "aggregation": FEDBN, **changed}))
    result: dict[str, Any] = workflow.parser.get_parsed_content("federation").run()
    return result


def network_of(file: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return state


@pytest.fixture(scope="module")
def finished(
    bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    """The result and the folder of a run with the entries of `federated`."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    entries = {
        "config_file": str(bundle_root / "configs" / "federated.json"), "bundle_root": str(bundle_root),
        "dataset_dir": str(sites_dir), "unseen_site": "unseen", "output_dir": str(folder), "rounds": 3, "device": "cpu",
        "facmic": {
            "target": "unseen", "clip": small_clip, "weights": None, "image_size": 16, "learning_rate": 1e-3,
            "batch_size": 8,
        },
    }  # fmt: skip
    return run(entries), folder


def test_only_what_is_no_normalization_is_exchanged_and_every_site_keeps_its_own(
    finished: tuple[dict[str, Any], Path],
) -> None:
    result, folder = finished
    assert set(result["manifest"]["tensors"]) == OTHERS
    assert "the unseen site and model.pt have those that the network began with" in (folder / "report.html").read_text()
    whole = network_of(folder / "model.pt")
    sites = {site: network_of(folder / "sites" / site / "model.pt") for site in ("site_a", "site_b")}
    for name in OTHERS:
        assert torch.equal(sites["site_a"][name], whole[name]) and torch.equal(sites["site_b"][name], whole[name])
    for name in NORMALIZATION - {"attention.1.num_batches_tracked"}:  # as many batches at both sites
        assert not torch.equal(sites["site_a"][name], sites["site_b"][name]), name


def test_the_unseen_site_and_the_model_have_the_normalizations_that_the_network_began_with(
    finished: tuple[dict[str, Any], Path], federated: dict[str, Any], bundle_root: Path, sites_dir: Path, tmp_path: Path
) -> None:
    result, folder = finished
    whole = network_of(folder / "model.pt")
    assert whole["attention.1.weight"].eq(1).all() and whole["attention.1.running_var"].eq(1).all()
    assert whole["attention.1.bias"].eq(0).all() and whole["attention.1.num_batches_tracked"] == 0
    classes = ["dots", "stripes"]
    settings = {**federated["facmic"], "target": None, "class_names": classes, "device": torch.device("cpu")}
    unseen = SiteAlgo(
        str(bundle_root), "unseen", str(sites_dir / "unseen"), str(tmp_path / "own"), settings=settings, held_out=True
    )  # no word of FedBN: the model is a network like any other
    unseen.initialize()
    assert unseen.score({name: whole[name] for name in exchanged_tensors(unseen.network)}) == result["final"]["unseen"]
    assert not (folder / "sites" / "unseen" / "model.pt").exists()


def test_the_untrained_scores_are_those_of_untrained_normalizations(
    finished: tuple[dict[str, Any], Path], federated: dict[str, Any], tmp_path: Path
) -> None:
    mean = {"_target_": "fedmed_workflows.aggregation.FedAvg"}
    assert finished[0]["initial"] == run(federated, output_dir=str(tmp_path / "mean"), aggregation=mean)["initial"]


def test_a_site_s_own_normalizations_survive_a_broken_off_round_and_a_restart(
    federated: dict[str, Any], finished: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, answers = tmp_path / "broken", []
    fit_round = SiteAlgo.fit_round

    def broken_off(site: SiteAlgo, weights: Any, number: int) -> Update:
        update = fit_round(site, weights, number)
        answers.append(site.site)
        if number == 2 and site.site == "site_b":
            raise KeyboardInterrupt  # the other site's state is that of round 2, the run's that of round 1
        return update

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SiteAlgo, "fit_round", broken_off)
        run(federated, output_dir=str(folder))
    result = run(federated, output_dir=str(folder))
    for file in ("model.pt", "sites/site_a/model.pt", "sites/site_b/model.pt"):
        ours, theirs = network_of(folder / file), network_of(finished[1] / file)
        assert all(torch.equal(ours[name], value) for name, value in theirs.items()), file
    assert result["final"] == finished[0]["final"] and result["initial"] == finished[0]["initial"]


def test_a_network_without_is_refused_by_name_before_anything_is_trained(
    federated: dict[str, Any], tmp_path: Path
) -> None:
    overlay = tmp_path / "frozen.json"
    overlay.write_text(
        '{"network": "$(@network_def.attention[1].requires_grad_(False), @network_def.to(@device))[1]"}'
    )
    with pytest.raises((ValueError, RuntimeError)) as refused:
        run(federated, train_config=["configs/train.json", str(overlay)])
    assert "site 'unseen': aggregation with local normalisations: FACMIC: found no normalisation that trains" in str(
        refused.value
    )
    assert not (tmp_path / "run" / "checkpoints").exists()
