"""Federated averaging: a table of aggregates written out by hand, and what does not change them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from fedmed_workflows.aggregation import FedAvg
from fedmed_workflows.exchange.weights import Update

Aggregated = Callable[..., dict[str, torch.Tensor]]

LINEAR = "attention.0.weight"
COUNT = "attention.1.num_batches_tracked"


@pytest.mark.parametrize(
    "values, samples, expected",
    [
        pytest.param([[1.0, 2.0]], [7], [1.0, 2.0], id="one site"),
        pytest.param([[0.0, 4.0], [2.0, 8.0]], [5, 5], [1.0, 6.0], id="equal sites"),
        pytest.param([[0.0, 4.0], [4.0, 8.0]], [1, 3], [3.0, 7.0], id="one to three"),
        pytest.param([[8.0, -8.0], [4.0, 0.0], [0.0, 16.0]], [1, 2, 5], [2.0, 9.0], id="three sites"),
        pytest.param([[1.0, 0.0], [0.0, 1.0]], [1, 999], [0.001, 0.999], id="a small and a large site"),
        pytest.param([[[1.0], [2.0]], [[3.0], [6.0]]], [1, 1], [[2.0], [4.0]], id="matrices"),
        pytest.param([-3.0, 5.0], [3, 1], -1.0, id="scalars"),
        pytest.param([5, 9, 2], [100, 1, 1], 9, id="a count: the largest, whatever the samples"),
        pytest.param([[5, 1], [2, 3]], [1, 1], [5, 3], id="counts by element"),
    ],
)
def test_aggregate(aggregated: Aggregated, values: list[object], samples: list[int], expected: object) -> None:
    updates = {
        f"site{index}": Update({LINEAR: torch.tensor(value)}, count)
        for index, (value, count) in enumerate(zip(values, samples, strict=True))
    }
    found = aggregated(FedAvg(), updates)
    assert list(found) == [LINEAR]
    wanted = torch.tensor(expected)
    assert found[LINEAR].dtype == wanted.dtype
    torch.testing.assert_close(found[LINEAR], wanted, rtol=1e-6, atol=0)


def random_updates(dtype: torch.dtype = torch.float32) -> dict[str, Update]:
    random = torch.Generator().manual_seed(0)
    return {
        site: Update(
            {LINEAR: torch.randn(33, 17, generator=random).to(dtype), COUNT: torch.tensor(samples // 3)}, samples
        )
        for site, samples in {"north": 31, "east": 7, "south": 1009, "west": 113}.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # nothing hides the last bits of float64
def test_the_order_of_arrival_changes_no_bit(aggregated: Aggregated, dtype: torch.dtype) -> None:
    updates = random_updates(dtype)
    expected = aggregated(FedAvg(), updates)
    for order in itertools.permutations(updates):
        found = aggregated(FedAvg(), {site: updates[site] for site in order})
        assert all(torch.equal(found[name], expected[name]) for name in expected), order


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_are_rounded_once(aggregated: Aggregated, dtype: torch.dtype) -> None:
    updates = random_updates(dtype)
    total = sum(update.samples for update in updates.values())
    exact = sum(update.weights[LINEAR].double() * update.samples for update in updates.values()) / total
    found = aggregated(FedAvg(), updates)[LINEAR]
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-15)


def test_equal_updates_are_their_own_mean(aggregated: Aggregated) -> None:
    weights = random_updates()["north"].weights
    sizes = {"a": 3, "b": 5, "c": 13}
    found = aggregated(FedAvg(), {site: Update(weights, samples) for site, samples in sizes.items()})
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_the_updates_are_left_as_they_were(aggregated: Aggregated) -> None:
    updates = random_updates()
    before = {site: update.weights[LINEAR].clone() for site, update in updates.items()}
    aggregated(FedAvg(), updates)[LINEAR].zero_()
    aggregated(FedAvg(), {"north": updates["north"]})[LINEAR].zero_()
    assert all(torch.equal(updates[site].weights[LINEAR], value) for site, value in before.items())


@pytest.mark.parametrize("samples", [0, -4, float("nan")])
def test_samples_must_be_positive(aggregated: Aggregated, samples: int) -> None:
    updates = {**random_updates(), "broken": Update({LINEAR: torch.zeros(33, 17)}, samples)}
    with pytest.raises(ValueError, match=f"broken: claims {samples} samples"):
        aggregated(FedAvg(), updates)


def test_no_update_is_refused(aggregated: Aggregated) -> None:
    with pytest.raises(ValueError, match="no update"):
        aggregated(FedAvg(), {})
