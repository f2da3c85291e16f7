"""NVFlare's privacy filters on what a site sends: what enters them, what the server makes of it, what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.filters.exclude_vars import ExcludeVars
from nvflare.app_common.filters.percentile_privacy import PercentilePrivacy
from nvflare.app_common.filters.svt_privacy import SVTPrivacy
from safetensors.torch import load_file
from torch import nn

from fedmed_workflows.errors import ManifestError, SiteError
from fedmed_workflows.exchange.filtered_update import FilteredWeights, difference
from fedmed_workflows.exchange.weights import Update, Weights, get_weights
from fedmed_workflows.federation.preparation.target import Preparation
from fedmed_workflows.nvflare.site.executor import SiteExecutor
from fedmed_workflows.nvflare.site.joined_site import Joined
from fedmed_workflows.nvflare.wire.filters import check_filters
from fedmed_workflows.nvflare.wire.messages import SAMPLES, filtered_update, message, with_difference

FILTERS = "nvflare.app_common.filters"
PERCENTILE = {"path": f"{FILTERS}.percentile_privacy.PercentilePrivacy", "args": {"percentile": 50, "gamma": 1e-5}}
SAMPLES_A_SITE = 20


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def changed(weights: Weights) -> Weights:
    """After training: parameters moved by -0.3 to 0.3, statistics by 0.5."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: value + 1 if value.dtype == torch.int64
        else value + 0.5 if "running" in name else value + 0.6 * torch.rand(value.shape, generator=generator) - 0.3
        for name, value in weights.items()
    }  # fmt: skip


def test_what_enters_a_filter_is_the_difference_of_the_parameters_and_no_statistic() -> None:
    received = get_weights(network())
    trained = changed(received)
    sent = difference(network(), trained, received)
    assert set(sent) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    back = FilteredWeights(received, sent, "site 'a'")
    assert list(back) == list(received)
    for name, value in trained.items():
        expected = value if name in sent else received[name]
        torch.testing.assert_close(back[name], expected, rtol=0, atol=1e-7)
        assert back[name].dtype == received[name].dtype


def test_a_difference_in_half_the_bytes_comes_back_in_their_type() -> None:
    received = get_weights(network(), "bfloat16")
    trained = {name: value.to(received[name].dtype) for name, value in changed(received).items()}
    back = FilteredWeights(received, difference(network(), trained, received), "site 'a'")
    assert torch.equal(back["0.weight"], trained["0.weight"]) and back["0.weight"].dtype == torch.bfloat16


def through(filter_of_nvflare: Any) -> tuple[Weights, FilteredWeights, np.ndarray[Any, Any]]:
    """Applies a filter; returns the received weights, the server's weights after it, and the differences before it."""
    received = get_weights(network())
    sent = difference(network(), changed(received), received)
    answer = filter_of_nvflare.process(with_difference(sent, **{SAMPLES: 10}), FLContext())
    update = filtered_update(answer, "a", received)
    assert isinstance(update.weights, FilteredWeights) and update.samples == 10
    return received, update.weights, np.concatenate([sent[name].ravel() for name in sent])


def test_percentile_privacy_sends_large_differences_only_and_cuts_them() -> None:
    received, weights, entered = through(PercentilePrivacy(percentile=50, gamma=0.01))
    left = np.concatenate([(weights[name] - received[name]).numpy().ravel() for name in received if "1.r" not in name])
    large = np.abs(entered) >= np.percentile(np.abs(entered), 50)
    expected = np.where(large, np.clip(entered, -0.1, 0.1), 0)  # gamma is per sample: 10 of them
    np.testing.assert_allclose(left[: entered.size], expected, atol=1e-7)


def test_svt_privacy_noises_what_it_sends_and_no_variance_becomes_negative() -> None:
    np.random.seed(0)
    received, weights, _ = through(SVTPrivacy(fraction=0.5, gamma=10.0, noise_var=0.01))
    assert (weights["0.weight"] - received["0.weight"]).abs().max() > 100
    assert torch.equal(weights["1.running_var"], torch.ones(4))


def test_an_excluded_tensor_stays_as_it_was_received() -> None:
    received, weights, _ = through(ExcludeVars(["0.weight"]))
    assert torch.equal(weights["0.weight"], received["0.weight"])
    assert not torch.equal(weights["0.bias"], received["0.bias"])


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({}, "site 'a': its filtered update holds no tensors"),
        ({"2.bias": np.zeros(4, np.float32)}, r"does not match the manifest: unknown \['2.bias'\]"),
        ({"0.bias": np.zeros(1, np.float32)}, r"site 'a': tensor 0.bias: found shape \[1\], expected \[4\]"),
        ({"0.bias": np.zeros(4, np.complex64)}, "tensor 0.bias: found complex64, expected an array of float32"),
        ({"0.bias": [0.0] * 4}, "tensor 0.bias: found list, expected an array of float32"),
    ],
)
def test_what_is_no_difference_of_the_manifest_s_tensors_is_refused(sent: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        FilteredWeights(get_weights(network()), sent, "site 'a'")


def test_an_answer_that_no_filter_saw_is_refused_where_filters_are_expected() -> None:
    received = get_weights(network())
    with pytest.raises(SiteError, match="site 'a': its answer is not a difference"):
        filtered_update(message(source={"host": "a", "file": "R1"}, **{SAMPLES: 3}), "a", received)


class Trained:
    """A site after its round; like the true one it seeds NumPy by the round."""

    def __init__(self) -> None:
        self.network = network()

    def fit_round(self, weights: Weights, round_number: int) -> Update:
        np.random.seed(round_number)
        return Update(changed(weights), 5, {"loss": 0.5})


@pytest.mark.parametrize("filtered", [False, True])
def test_a_site_answers_with_a_difference_whose_noise_nobody_can_draw_again(filtered: bool) -> None:
    executor = SiteExecutor()
    executor._joined = Joined(Trained(), "data", Preparation({}, []))  # type: ignore[arg-type]
    executor._filtered, executor._held = filtered, (0, get_weights(network()))
    executor._offer = lambda weights, fl_ctx: {}  # type: ignore[method-assign]  # no server fetches it here
    context = SimpleNamespace(get_identity_name=lambda: "a")
    draws = set()
    for _ in range(2):
        answer = executor.execute("train", message(aggregate=0, round=1), context, None)
        draws.add(float(np.random.laplace()))
        assert from_shareable(answer).data_kind == (DataKind.WEIGHT_DIFF if filtered else DataKind.APP_DEFINED)
    assert len(draws) == (2 if filtered else 1)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"args": {}}, r"filters#0: expected the entries 'path' and 'args', found \['args'\]"),
        ({"path": "collections.OrderedDict"}, "filters#0: expected a filter of NVFlare, found collections.OrderedDict"),
        ({"path": f"{FILTERS}.no_filter.NoFilter"}, "filters#0: .*NoFilter: "),
        ({**PERCENTILE, "args": {"percent": 5}}, "filters#0: .*PercentilePrivacy: .*percent"),
    ],
)
def test_a_mistake_in_a_filter_is_told_before_the_job_is_written(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_filters([entry])


def test_one_process_has_no_filters_of_nvflare(federated: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="filters: found the engine 'in_process', expected the engine 'nvflare'"):
        run({**federated, "filters": [PERCENTILE]})
    assert not Path(federated["output_dir"]).exists()


def run(entries: dict[str, Any]) -> dict[str, Any]:
    workflow = create_workflow(**copy.deepcopy(entries))
    result: dict[str, Any] = workflow.parser.get_parsed_content("federation").run()
    return result


@pytest.mark.processes
def test_rounds_in_the_simulator_go_through_the_filter(federated: dict[str, Any], tmp_path: Path) -> None:
    entries = {**federated, "rounds": 2}
    run({**entries, "engine": "in_process", "output_dir": str(tmp_path / "plain")})
    result = run({**entries, "engine": "nvflare", "output_dir": str(tmp_path / "filtered"), "filters": [PERCENTILE]})
    assert all("error" not in site for entry in result["history"][1:] for site in entry["sites"].values())
    moved = {name: moves(tmp_path / name) for name in ("plain", "filtered")}
    limit = PERCENTILE["args"]["gamma"] * SAMPLES_A_SITE  # type: ignore[index]
    assert moved["plain"].abs().max() > 4 * limit
    assert 0 < moved["filtered"].abs().max() <= 1.001 * limit
    last = load_file(tmp_path / "filtered" / "checkpoints" / "round_00002.safetensors")
    variances = [value for name, value in last.items() if name.endswith("running_var")]
    assert variances and all(torch.equal(value, torch.ones_like(value)) for value in variances)
    assert json.loads((tmp_path / "filtered" / "run.json").read_text())["identity"]["filters"] == [PERCENTILE]


def moves(folder: Path) -> torch.Tensor:
    """Returns the change of every parameter in round 1."""
    before, after = (load_file(folder / "checkpoints" / f"round_0000{number}.safetensors") for number in (0, 1))
    names = [name for name in before if name.endswith(("weight", "bias"))]
    assert names
    return torch.cat([(after[name] - before[name]).flatten() for name in names])
