"""The rounds of a run, whatever the engine: order of answers, refused updates, and too few of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fedmed_workflows.aggregation import FedAvg
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import Update, Weights
from fedmed_workflows.federation.rounds import FederationError, Rounds
from fedmed_workflows.federation.run_folder import RunFolder

MANIFEST = Manifest({"layer.weight": ([2], "float32"), "layer.count": ([], "int64")}, "frozen")
START = {"layer.weight": torch.zeros(2), "layer.count": torch.tensor(0)}


def update(values: Sequence[float], samples: Any = 10, **changed: Any) -> Update:
    return Update(
        {"layer.weight": torch.tensor(values, dtype=torch.float32), "layer.count": torch.tensor(3), **changed}, samples
    )


class Answers:
    """An engine whose sites answer what a test says, in the order that it says."""

    def __init__(self, answers: Mapping[str, Update | Exception]) -> None:
        self.answers = answers

    def initial_weights(self) -> Weights:
        return START

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> Mapping[str, torch.Tensor]:
        return weights

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        pass

    def train(self, weights: Weights, round_number: int) -> Iterator[tuple[str, Update | Exception]]:
        yield from self.answers.items()

    def validate(self, weights: Weights, round_number: int) -> dict[str, dict[str, float]]:
        return {}


def one_round(path: Path, answers: Mapping[str, Update | Exception], min_sites: int = 1) -> Any:
    with RunFolder(path, {"run": 1}) as folder:
        rounds = Rounds(Answers(answers), folder, MANIFEST, FedAvg(), 1, min_sites)
        weights, history = rounds.run(lambda number, sites: None)
        return weights, history[1]["sites"]


def test_the_order_of_the_answers_changes_no_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    answers = {f"site_{index}": update(torch.randn(2).tolist(), 10 + 7 * index) for index in range(12)}
    first, sites = one_round(tmp_path / "first", answers)
    second, again = one_round(tmp_path / "second", dict(reversed(answers.items())))
    assert torch.equal(first["layer.weight"], second["layer.weight"])
    assert json.dumps(sites) == json.dumps(again)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (update([9, 9], 0), "site 'b': claims 0 samples, expected a positive whole number"),
        (update([9, 9], -3), "site 'b': claims -3 samples"),
        (update([9, 9], float("nan")), "site 'b': claims nan samples"),
        (update([9, 9], float("inf")), "site 'b': claims inf samples"),
        (update([9, 9], 2.5), "site 'b': claims 2.5 samples"),
        (update([9, 9], True), "site 'b': claims True samples"),
        (update([9, 9], "10"), "site 'b': claims '10' samples"),
        (update([9, 9], None), "site 'b': claims None samples"),
        (update([9, 9, 9]), "site 'b': sent weights: tensor layer.weight: found ([3], 'float32')"),
        (update([9, 9], **{"layer.count": torch.tensor(3.0)}), "tensor layer.count: found ([], 'float32')"),
        (update([9, 9], **{"layer.weight": torch.tensor([1.0, 2.0]).double()}), "found ([2], 'float64')"),
        (update([9, float("nan")]), "site 'b': sent weights: tensor layer.weight: found values that are not finite"),
        (update([9, float("-inf")]), "found values that are not finite"),
        (update([9, 9], extra=torch.zeros(1)), "missing [], unknown ['extra']"),
        (Update({"layer.weight": torch.zeros(2)}, 10), "missing ['layer.count'], unknown []"),
    ],
)
def test_a_bad_update_is_refused_by_name_and_the_round_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: Update, said: str
) -> None:
    with caplog.at_level(logging.WARNING):
        weights, sites = one_round(tmp_path / "run", {"a": update([1, 2], 10), "b": bad, "c": update([3, 4], 30)})
    assert weights["layer.weight"].tolist() == [2.5, 3.5]  # (1 * 10 + 3 * 30) / 40 and (2 * 10 + 4 * 30) / 40
    assert said in sites["b"]["error"] and "site 'b'" in sites["b"]["error"]
    assert "error" not in sites["a"] and "error" not in sites["c"]
    assert "round without site b" in caplog.text


def test_too_few_sound_updates_end_the_run_and_keep_the_last_aggregate(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="round 1: 1 sites contributed, expected at least 2; failed: {'b': .*'b'"):
        one_round(tmp_path / "run", {"a": update([1, 2]), "b": update([1, 2], 0)}, min_sites=2)
    last = json.loads((tmp_path / "run" / "checkpoints" / "last.json").read_text())
    assert [entry["round"] for entry in last["history"]] == [0]
