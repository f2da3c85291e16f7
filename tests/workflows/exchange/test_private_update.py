"""A site's round under privacy: the same bits again, other noise for all else, and what the site keeps to itself."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import create_workflow
from torch import nn

from fedmed_workflows import SiteAlgo
from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate
from fedmed_workflows.exchange.privacy.private_update import hold_statistics
from fedmed_workflows.exchange.weights import Update, Weights

NOISE = GaussianUpdate(clip_norm=0.02, noise_multiplier=2.5, delta=1e-5)
CLIPPED = GaussianUpdate(clip_norm=0.02, noise_multiplier=0.0, delta=1e-5)
STATISTICS = {f"attention.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}

MakeSite = Callable[..., SiteAlgo]


@pytest.fixture
def make_site(federated: dict[str, Any], tmp_path: Path) -> MakeSite:
    """Site a of a federation, with a state folder by name."""

    def made(privacy: GaussianUpdate | None, folder: str = "a", exchange_dtype: str = "float32") -> SiteAlgo:
        run = create_workflow(**federated).parser.get_parsed_content("federation")
        settings = {**run.settings, "cache_dir": str(tmp_path / "features"), "device": "cpu", "target": None,
                    "output_dir": str(tmp_path / folder)}  # fmt: skip
        site = SiteAlgo(
            run.bundle_root, "site_a", str(run.sites.folders["site_a"]), str(tmp_path / folder), settings=settings,
            exchange_dtype=exchange_dtype, privacy=privacy,
        )  # fmt: skip
        site.initialize()
        return site

    return made


def parameters(weights: Weights) -> torch.Tensor:
    return torch.cat([value.double().reshape(-1) for name, value in weights.items() if name not in STATISTICS])


def same(one: Update, other: Update) -> bool:
    return all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


def test_an_update_is_clipped_and_its_noise_has_the_declared_spread(make_site: MakeSite) -> None:
    plain, clipped, noisy = (make_site(privacy, str(privacy)) for privacy in (None, CLIPPED, NOISE))
    hold_statistics(plain.network)
    weights = plain.initial_weights()
    updates = [site.fit_round(weights, 1) for site in (plain, clipped, noisy)]
    moved = [parameters(update.weights) - parameters(weights) for update in updates]
    assert moved[0].norm() > 0.03  # there is something to clip
    assert moved[1].norm().item() == pytest.approx(0.02, rel=1e-4)
    torch.testing.assert_close(moved[1] / moved[1].norm(), moved[0] / moved[0].norm(), rtol=0, atol=1e-4)
    noise = moved[2] - moved[1]
    assert noise.std().item() == pytest.approx(0.05, rel=0.15)  # 576 values: the spread of their spread is 3%
    assert noise.mean().item() == pytest.approx(0, abs=0.01)


def test_statistics_of_patients_stay_at_the_site(make_site: MakeSite) -> None:
    plain, private = make_site(None, "plain"), make_site(NOISE)
    weights = {name: value + 3 if name in STATISTICS else value for name, value in plain.initial_weights().items()}
    sent = [site.fit_round(weights, 1).weights for site in (plain, private)]
    for name in STATISTICS:
        assert not torch.equal(sent[0][name], weights[name]), name
        assert torch.equal(sent[1][name], weights[name]), name


def test_training_normalises_by_the_statistics_received() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2).requires_grad_(False)).train()
    network[0].running_mean.copy_(torch.tensor([1.0, 2.0]))
    network[0].running_var.copy_(torch.tensor([4.0, 16.0]))
    hold_statistics(network)
    batch = torch.tensor([[3.0, 2.0], [1.0, 6.0]])
    torch.testing.assert_close(network[0](batch), torch.tensor([[1.0, 0.0], [0.0, 1.0]]), rtol=0, atol=1e-5)
    assert network[0].running_mean.tolist() == [1.0, 2.0] and int(network[0].num_batches_tracked) == 0
    network[1](batch)
    assert int(network[1].num_batches_tracked) == 1  # what is frozen and stays at the site is as it was


def test_a_round_begun_again_gives_the_same_bits(make_site: MakeSite) -> None:
    site = make_site(NOISE)
    weights = site.initial_weights()
    first = site.fit_round(weights, 1)
    again = make_site(NOISE).fit_round(weights, 1)  # another process of the same site
    assert same(first, again) and (first.metrics, again.metrics) == ({"answers": 1}, {"answers": 1})


def test_a_round_asked_again_with_other_weights_has_noise_of_its_own(make_site: MakeSite) -> None:
    """The server may ask what it likes; with the same noise, the difference of two answers would hold none."""
    site = make_site(NOISE)
    weights = site.initial_weights()
    first = site.fit_round(weights, 1)
    moved = {name: value + 1e-6 if value.is_floating_point() else value for name, value in weights.items()}
    second = site.fit_round(moved, 1)
    difference = parameters(second.weights) - parameters(first.weights)
    assert difference.std().item() == pytest.approx(0.05 * 2**0.5, rel=0.1)
    assert second.metrics == {"answers": 2}


def test_rounds_sites_and_runs_have_noise_of_their_own(make_site: MakeSite) -> None:
    sites = [make_site(NOISE, folder) for folder in ("run_1/site_a", "run_2/site_a")]
    weights = sites[0].initial_weights()
    updates = [sites[0].fit_round(weights, 1), sites[1].fit_round(weights, 1), sites[0].fit_round(weights, 2)]
    for one, other in ((0, 1), (0, 2)):
        difference = parameters(updates[one].weights) - parameters(updates[other].weights)
        assert difference.std().item() == pytest.approx(0.05 * 2**0.5, rel=0.15)


def test_the_loss_stays_at_the_site(make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    plain, private = make_site(None, "plain"), make_site(NOISE)
    hold_statistics(plain.network)
    weights = plain.initial_weights()
    loss = plain.fit_round(weights, 1).metrics["loss"]
    with caplog.at_level(logging.INFO):
        assert set(private.fit_round(weights, 1).metrics) == {"answers"}
    assert f"site site_a, round 1: loss {loss:.4f}, kept here; answer number 1" in caplog.text


def test_without_privacy_there_is_no_secret(make_site: MakeSite, tmp_path: Path) -> None:
    site = make_site(None)
    site.fit_round(site.initial_weights(), 1)
    assert [path.name for path in (tmp_path / "a").glob("*.*")] == ["round_00001.pt"]


def test_a_site_that_lost_its_secret_does_not_go_on(make_site: MakeSite, tmp_path: Path) -> None:
    site = make_site(NOISE)
    site.fit_round(site.initial_weights(), 1)
    (tmp_path / "a" / "noise.secret").unlink()
    with pytest.raises(ValueError, match="noise.secret: no such file, expected the secret of the site's earlier"):
        make_site(NOISE)
    shutil.rmtree(tmp_path / "a")
    make_site(NOISE)


def test_private_weights_are_sent_in_the_type_of_the_exchange(make_site: MakeSite) -> None:
    site = make_site(CLIPPED, exchange_dtype="bfloat16")
    full = make_site(CLIPPED, "full")
    weights = site.initial_weights()
    sent = site.fit_round(weights, 1).weights
    expected = full.fit_round(
        {name: value.to(full.initial_weights()[name].dtype) for name, value in weights.items()}, 1
    )
    for name, value in expected.weights.items():
        assert torch.equal(sent[name], value.to(sent[name].dtype)), name
    assert {str(value.dtype) for value in sent.values()} == {"torch.bfloat16", "torch.int64"}
