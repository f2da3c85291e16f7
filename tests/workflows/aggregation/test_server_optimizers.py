"""FedAvgM, FedAdam and FedYogi: steps written out by hand, what they keep, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from fedmed_workflows.aggregation import Before, FedAdam, FedAvg, FedAvgM, FedYogi
from fedmed_workflows.aggregation import aggregation as pieces
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import Update, tensor_spec

WEIGHT, VARIANCE, COUNT = "layer.weight", "norm.running_var", "norm.num_batches_tracked"

NUMBERS = {"learning_rate": 0.5, "beta_1": 0.5, "beta_2": 0.75, "adaptivity": 2.0}
"""Before round 1: m = 0, v = 4."""


def after_rounds(
    on_engine: Any, aggregation: Any, start: torch.Tensor, rounds: Sequence[Sequence[tuple[Any, int]]]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The aggregate and the state after rounds whose updates are (value, samples) of each site."""
    value, state = start, {}
    for sites in rounds:
        updates = {
            f"site{index}": Update({WEIGHT: torch.tensor(sent, dtype=start.dtype)}, samples)
            for index, (sent, samples) in enumerate(sites)
        }
        named, received = on_engine(aggregation, updates)
        ((_, value, state),) = named.aggregate(received, Before({WEIGHT: value}, state))
    return value, state


@pytest.mark.parametrize(
    ("aggregation", "rounds", "expected", "state"),
    [
        # delta = [2, -4] - 0, x = 0.5 delta
        pytest.param(FedAvgM(0.5, 0.5), [[([2.0, -4.0], 3)]], [1.0, -2.0], {"momentum": [2.0, -4.0]}, id="m, one site"),
        # delta = 1/4 [4, 0] + 3/4 [0, 8] = [1, 6]
        pytest.param(
            FedAvgM(1.0, 0.5), [[([4.0, 0.0], 1), ([0.0, 8.0], 3)]], [1.0, 6.0], {"momentum": [1.0, 6.0]}, id="m, two"
        ),
        # m = [1, 6], x = [1, 6]; the sites stay where they are: delta = 0, m = [0.5, 3], x = [1.5, 9];
        # one site left, at [2.5, 9]: delta = [1, 0], m = [1.25, 1.5], x = [2.75, 10.5]
        pytest.param(
            FedAvgM(1.0, 0.5),
            [
                [([4.0, 0.0], 1), ([0.0, 8.0], 3)],
                [([1.0, 6.0], 1), ([1.0, 6.0], 3)],
                [([2.5, 9.0], 1)],
            ],
            [2.75, 10.5], {"momentum": [1.25, 1.5]}, id="m, three rounds, a site missing in the third",
        ),
        # delta = [4, 0]: m = [2, 0], v = 0.75 * 4 + 0.25 [16, 0] = [7, 3], x = 0.5 [2 / (sqrt 7 + 2), 0]
        pytest.param(
            FedAdam(**NUMBERS), [[([4.0, 0.0], 5)]], [0.21525043702153024, 0.0],
            {"first_moment": [2.0, 0.0], "second_moment": [7.0, 3.0]}, id="adam",
        ),
        # delta = [2, 2]: m = [1, 1], v = 3 + 1 = 4, x = 0.5 * 1 / (2 + 2) = 0.125; delta = [0, 2]: m = [0.5, 1.5],
        # v = [3, 4], x = 0.125 + 0.5 [0.5 / (sqrt 3 + 2), 1.5 / 4]
        pytest.param(
            FedAdam(**NUMBERS), [[([2.0, 2.0], 1)], [([0.125, 2.125], 1)]], [0.19198729810778065, 0.3125],
            {"first_moment": [0.5, 1.5], "second_moment": [3.0, 4.0]}, id="adam, two rounds",
        ),
        # delta = [4, 1]: v = 4 - 0.25 [16 * -1, 1 * 1] = [8, 3.75], m = [2, 0.5],
        # x = 0.5 [2 / (sqrt 8 + 2), 0.5 / (sqrt 3.75 + 2)]
        pytest.param(
            FedYogi(**NUMBERS), [[([4.0, 1.0], 5)]], [0.20710678118654752, 0.06350832689629156],
            {"first_moment": [2.0, 0.5], "second_moment": [8.0, 3.75]}, id="yogi",
        ),
        # delta = [2, 2]: delta^2 = v, so v stays 4: the sign of 0 is 0; m = 1, x = 0.5 / 4
        pytest.param(
            FedYogi(**NUMBERS), [[([2.0, 2.0], 1)]], [0.125, 0.125],
            {"first_moment": [1.0, 1.0], "second_moment": [4.0, 4.0]}, id="yogi, as large as expected",
        ),
        pytest.param(FedAdam(**NUMBERS), [[(3.0, 1), (-1.0, 3)]], 0.0, {"second_moment": 3.0}, id="adam, scalar, 0"),
    ],
)  # fmt: skip
def test_steps(on_engine: Any, aggregation: Any, rounds: Any, expected: Any, state: Mapping[str, Any]) -> None:
    start = torch.zeros_like(torch.tensor(expected))
    found, kept = after_rounds(on_engine, aggregation, start, rounds)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=0)
    for moment, wanted in state.items():
        torch.testing.assert_close(kept[f"{moment}.{WEIGHT}"], torch.tensor(wanted), rtol=1e-6, atol=0)


def random_updates(dtype: torch.dtype = torch.float32) -> dict[str, Update]:
    random = torch.Generator().manual_seed(0)
    return {
        site: Update({WEIGHT: torch.randn(33, 17, generator=random).to(dtype)}, samples)
        for site, samples in {"north": 31, "east": 7, "south": 1009}.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_momentum_it_is_the_mean(aggregated: Any, dtype: torch.dtype) -> None:
    updates = random_updates(dtype)
    before = Before({WEIGHT: torch.full((33, 17), 0.5, dtype=dtype)})
    found, wanted = (aggregated(each, updates, before)[WEIGHT] for each in (FedAvgM(1.0, 0.0), FedAvg()))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("aggregation", [FedAvgM(), FedAdam(), FedYogi()])
def test_the_order_of_arrival_changes_no_bit(aggregated: Any, aggregation: Any) -> None:
    updates = random_updates()
    found, again = (aggregated(aggregation, each)[WEIGHT] for each in (updates, dict(reversed(updates.items()))))
    assert torch.equal(found, again)


@pytest.mark.parametrize("aggregation", [FedAvgM(), FedAdam(), FedYogi()])
def test_sites_that_did_not_move_leave_everything_where_it_is(aggregated: Any, aggregation: Any) -> None:
    start = random_updates()["north"].weights
    updates = {site: Update(start, samples) for site, samples in {"a": 3, "b": 5, "c": 13}.items()}
    assert torch.equal(aggregated(aggregation, updates, Before(start))[WEIGHT], start[WEIGHT])


@pytest.mark.parametrize("aggregation", [FedAvgM(8.0), FedAdam(8.0), FedYogi(8.0)])
def test_statistics_and_counts_are_averaged_and_leave_no_state(aggregated: Any, aggregation: Any) -> None:
    before = Before({VARIANCE: torch.tensor([4.0]), COUNT: torch.tensor(7)}, {}, {VARIANCE, COUNT})
    updates = {
        "a": Update({VARIANCE: torch.tensor([1.0]), COUNT: torch.tensor(9)}, 1),
        "b": Update({VARIANCE: torch.tensor([2.0]), COUNT: torch.tensor(8)}, 3),
    }
    found = aggregated(aggregation, updates, before)
    assert found[VARIANCE].tolist() == [1.75] and found[COUNT].item() == 9
    assert all(not tensor.state for tensor in aggregation.aggregate(updates, before))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("aggregation", [FedAvgM(), FedAdam(), FedYogi()])
def test_the_state_is_the_one_announced(aggregation: Any, dtype: torch.dtype) -> None:
    tensors = {WEIGHT: torch.ones(2, 3, dtype=dtype), VARIANCE: torch.ones(3), COUNT: torch.tensor(1)}
    manifest = Manifest({name: tensor_spec(value) for name, value in tensors.items()}, "", frozenset({VARIANCE, COUNT}))
    before = Before(tensors, {}, manifest.statistics)
    kept = {}
    for tensor in aggregation.aggregate({"a": Update(tensors, 1)}, before):
        kept |= tensor.state
        assert tensor_spec(tensor.value) == manifest.tensors[tensor.name]
    assert {name: tensor_spec(value) for name, value in kept.items()} == aggregation.state_specs(manifest)
    assert list(kept) == list(aggregation.state_specs(manifest))


def test_small_steps_are_not_lost_where_half_the_bytes_are_sent() -> None:
    # the sites move by 1, of which a hundredth is taken; bfloat16 has no number between 256 and 258
    start, moved = torch.tensor([256.0], dtype=torch.bfloat16), torch.tensor([258.0], dtype=torch.bfloat16)
    value, state = start, {}
    for _ in range(60):
        before = Before({WEIGHT: value}, state)
        ((_, value, state),) = FedAvgM(0.01, 0.0).aggregate({"a": Update({WEIGHT: moved}, 1)}, before)
    assert value.dtype == torch.bfloat16 and value.item() == 258.0
    torch.testing.assert_close(state[f"unrounded.{WEIGHT}"].item(), 257.0, rtol=0, atol=0.05)


@pytest.mark.parametrize("aggregation", [FedAvgM(), FedAdam(), FedYogi()])
def test_pieces_make_the_same_as_the_whole(on_engine: Any, monkeypatch: pytest.MonkeyPatch, aggregation: Any) -> None:
    def two_rounds() -> list[torch.Tensor]:
        value, state = torch.full((33, 17), 0.25, dtype=torch.bfloat16), {}
        for _ in range(2):
            named, received = on_engine(aggregation, random_updates(torch.bfloat16))
            ((_, value, state),) = named.aggregate(received, Before({WEIGHT: value}, state))
        return [value, *state.values()]

    whole = two_rounds()
    monkeypatch.setattr(pieces, "PIECE", 3 * 20)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(two_rounds(), whole, strict=True))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FedAvgM(momentum=1.0), "momentum: found 1.0, expected a number of at least 0 and below 1"),
        (lambda: FedAvgM(momentum=-0.1), "momentum: found -0.1, expected a number of at least 0 and below 1"),
        (lambda: FedAvgM(momentum="0.9"), "momentum: found '0.9', expected a number"),
        (lambda: FedAvgM(momentum=float("nan")), "momentum: found nan"),
        (lambda: FedAvgM(learning_rate=0), "learning_rate: found 0, expected a number above 0"),
        (lambda: FedAvgM(learning_rate=float("inf")), "learning_rate: found inf"),
        (lambda: FedAdam(learning_rate=-1), "learning_rate: found -1"),
        (lambda: FedAdam(beta_1=True), "beta_1: found True"),
        (lambda: FedAdam(beta_2=1), "beta_2: found 1"),
        (lambda: FedYogi(adaptivity=0.0), "adaptivity: found 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
