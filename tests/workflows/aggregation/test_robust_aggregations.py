"""Median, trimmed mean and Krum: aggregates written out by hand, and how many sites they need."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from fedmed_workflows.aggregation import Before, Krum, Median, TrimmedMean
from fedmed_workflows.aggregation import aggregation as pieces
from fedmed_workflows.exchange.weights import Update

WEIGHT, VARIANCE, COUNT = "layer.weight", "norm.running_var", "norm.num_batches_tracked"


@pytest.mark.parametrize(
    ("aggregation", "values", "expected"),
    [
        pytest.param(Median(), [[3.0, 1.0]], [3.0, 1.0], id="median, one site"),
        pytest.param(Median(), [[1.0, 6.0], [3.0, 2.0]], [2.0, 4.0], id="median, two sites"),
        pytest.param(Median(), [[1.0, 9.0], [5.0, 2.0], [100.0, -100.0]], [5.0, 2.0], id="median, three sites"),
        pytest.param(Median(), [[1.0], [2.0], [4.0], [1e30]], [3.0], id="median, four sites, one wrong"),
        pytest.param(Median(), [[0.1], [0.1], [0.1], [0.1]], [0.1], id="median, equal values"),
        pytest.param(Median(), [4, 8, 6], 6, id="median, a count"),
        pytest.param(Median(), [4, 8, 6, 5], 6, id="median, a count, the larger of two"),
        pytest.param(Median(), [[[1.0], [2.0]], [[3.0], [0.0]], [[2.0], [1.0]]], [[2.0], [1.0]], id="median, matrices"),
        pytest.param(TrimmedMean(1), [[1.0, 8.0], [3.0, 2.0], [9.0, 4.0]], [3.0, 4.0], id="trimmed, one is left"),
        pytest.param(TrimmedMean(1), [[1.0], [2.0], [4.0], [1e30]], [3.0], id="trimmed, two are left"),
        pytest.param(TrimmedMean(1), [[0.0], [1.0], [2.0], [6.0], [-1e30]], [1.0], id="trimmed, three are left"),
        pytest.param(TrimmedMean(2), [[0.0], [1.0], [3.0], [6.0], [-1e30]], [1.0], id="trimmed, two at either end"),
        pytest.param(TrimmedMean(1), [[0.1], [0.1], [0.1], [0.1], [0.1]], [0.1], id="trimmed, equal values"),
        pytest.param(TrimmedMean(1), [9, 4, 7, 5], 7, id="trimmed, a count: the largest that is left"),
        # f = 0, n = 3, one neighbour: 1, 1, 49; of equal sums the first
        pytest.param(Krum(0), [[2.0], [3.0], [10.0]], [2.0], id="krum, f 0"),
        # f = 1, n = 5, two neighbours: 1 + 4, 1 + 1, 1 + 4, 97^2 + .., 96^2 + ..
        pytest.param(Krum(1), [[1.0], [2.0], [3.0], [99.0], [98.0]], [2.0], id="krum, f 1, two far away"),
        # in the plane: (0,0): 1 + 2; (1,0): 1 + 1; (1,1): 1 + 2; (0,3): 5 + 9; (9,9): 128 + 117
        pytest.param(
            Krum(1), [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 3.0], [9.0, 9.0]], [1.0, 0.0], id="krum, two numbers"
        ),
        pytest.param(Krum(1), [[7.0]] * 5, [7.0], id="krum, equal updates"),
    ],
)
def test_aggregate(aggregated: Any, aggregation: Any, values: list[Any], expected: Any) -> None:
    updates = {
        f"site{index}": Update({WEIGHT: torch.tensor(value)}, 1 + 100 * index) for index, value in enumerate(values)
    }
    found = aggregated(aggregation, updates)[WEIGHT]
    wanted = torch.tensor(expected)
    assert found.dtype == wanted.dtype and torch.equal(found, wanted)


def updates_of(weights: Mapping[str, Any]) -> dict[str, Update]:
    return {site: Update({WEIGHT: torch.tensor(value)}, 1) for site, value in weights.items()}


def test_krum_takes_the_site_whose_name_is_first_and_not_who_answered_first(aggregated: Any) -> None:
    sites = {"a": [0.0, 1.0], "b": [1.0, 0.0], "c": [0.0, -1.0], "d": [-1.0, 0.0], "e": [50.0, 0.0]}
    for order in itertools.permutations(sites):
        assert aggregated(Krum(1), updates_of({site: sites[site] for site in order}))[WEIGHT].tolist() == [0.0, 1.0]


def test_krum_s_distances_are_those_of_parameters_and_its_choice_is_whole(aggregated: Any) -> None:
    updates = {
        f"site{index}": Update(
            {
                WEIGHT: torch.tensor([float(value)]),
                VARIANCE: torch.tensor([variance]),
                COUNT: torch.tensor(10**6 * index),
            },
            1,
        )
        for index, (value, variance) in enumerate([(5, 1.0), (1, 1.0), (2, 900.0), (3, 1.0), (9, 1.0)])
    }
    before = Before(updates["site0"].weights, {}, {VARIANCE, COUNT})
    found = aggregated(Krum(1), updates, before)
    assert (found[WEIGHT].item(), found[VARIANCE].item(), found[COUNT].item()) == (2.0, 900.0, 2 * 10**6)


def test_krum_s_distances_are_summed_over_all_tensors(aggregated: Any) -> None:
    # by the first tensor alone site 2 lies in the middle, by both together site 1
    sites = [(0.0, 0.0), (1.0, 0.0), (2.0, 8.0), (3.0, 0.0), (4.0, 0.0)]
    updates = {
        f"site{index}": Update({WEIGHT: torch.tensor([one]), "other": torch.tensor([other])}, 1)
        for index, (one, other) in enumerate(sites)
    }
    assert aggregated(Krum(1), updates)[WEIGHT].item() == 1.0


@pytest.mark.parametrize("aggregation", [Median(), TrimmedMean(2), Krum(1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pieces_make_the_same_as_the_whole(
    aggregated: Any, monkeypatch: pytest.MonkeyPatch, aggregation: Any, dtype: torch.dtype
) -> None:
    random = torch.Generator().manual_seed(0)
    updates = {}
    for index in range(6):
        weight = torch.randn(13, 7, generator=random).to(dtype)
        updates[f"site{index}"] = Update({WEIGHT: weight, COUNT: torch.tensor(index), "none": torch.zeros(0)}, 1)
    whole = aggregated(aggregation, updates)
    monkeypatch.setattr(pieces, "PIECE", 6 * 10)
    shapes = [tuple(values.shape) for _, values in pieces.pieces(WEIGHT, updates, 91)]
    assert shapes == [*[(6, 10)] * 9, (6, 1)]
    again = aggregated(aggregation, updates)
    assert all(torch.equal(again[name], value) for name, value in whole.items())


@pytest.mark.parametrize("aggregation", [Median(), TrimmedMean(1)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_means_are_rounded_once(aggregated: Any, aggregation: Any, dtype: torch.dtype) -> None:
    values = torch.randn(4, 200, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = aggregated(aggregation, {f"site{index}": Update({WEIGHT: row}, 1) for index, row in enumerate(values)})
    exact = values.double().sort(dim=0).values[1:3].mean(dim=0)
    assert found[WEIGHT].dtype == dtype and torch.equal(found[WEIGHT], exact.to(dtype))


@pytest.mark.parametrize(
    ("aggregation", "enough"), [(Median(), 1), (TrimmedMean(1), 3), (TrimmedMean(3), 7), (Krum(0), 3), (Krum(2), 7)]
)
def test_too_few_sites_are_refused_before_training_and_in_a_round(
    aggregated: Any, aggregation: Any, enough: int
) -> None:
    name = type(aggregation).__name__
    aggregation.check(enough)
    with pytest.raises(ValueError, match=f"aggregation {name}: found rounds of {enough - 1} sites.*at least {enough}"):
        aggregation.check(enough - 1)
    sites = {f"site{index}": [1.0] for index in range(enough)}
    assert aggregated(aggregation, updates_of(sites))[WEIGHT].item() == 1.0
    del sites["site0"]
    with pytest.raises(ValueError, match=f"aggregation {name}: found .* update.*at least {enough}"):
        list(aggregation.aggregate(updates_of(sites), Before({WEIGHT: torch.zeros(1)})))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: TrimmedMean(0), "trimmed: found 0, expected a whole number of at least 1"),
        (lambda: TrimmedMean(0.2), "trimmed: found 0.2, expected a whole number"),  # type: ignore[arg-type]
        (lambda: TrimmedMean(True), "trimmed: found True"),
        (lambda: Krum(-1), "byzantine: found -1, expected a whole number of at least 0"),
        (lambda: Krum("1"), "byzantine: found '1'"),  # type: ignore[arg-type]
    ],
)
def test_settings_out_of_range_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
