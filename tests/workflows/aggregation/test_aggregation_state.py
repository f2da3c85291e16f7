"""Tests an aggregation's state between rounds: in the run's folder, whole or absent, the same after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fedmed_workflows.aggregation import (
    Aggregation,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedBN,
    FedYogi,
    Krum,
    Median,
    TrimmedMean,
)
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import Update, Weights, tensor_spec
from fedmed_workflows.federation.rounds import Rounds
from fedmed_workflows.federation.run_folder import KEPT_CHECKPOINTS, RunFolder

START = {
    "layer.weight": torch.linspace(-1, 1, 12).reshape(3, 4),
    "half.weight": torch.linspace(-2, 2, 5).bfloat16(),
    "norm.running_var": torch.ones(4),
    "norm.count": torch.tensor(0),
}
MANIFEST = Manifest(
    {name: tensor_spec(value) for name, value in START.items()}, "frozen", frozenset({"norm.running_var", "norm.count"})
)

ALL = [FedAvg(), FedAvgM(), FedAdam(), FedYogi(), FedBN(), Median(), TrimmedMean(1), Krum(0)]
WITH_STATE = [each for each in ALL if each.state_specs(MANIFEST)]


class Walks:
    """An engine whose five sites each walk some way from the aggregate, and of which one is missing in round 2."""

    def __init__(self, breaks: tuple[str, int] | None = None) -> None:
        self.breaks = breaks

    def initial_weights(self) -> Weights:
        return START

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> Mapping[str, torch.Tensor]:
        return load_file(file)

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        pass

    def train(self, weights: Weights, round_number: int) -> Iterator[tuple[str, Update | Exception]]:
        if self.breaks == ("train", round_number):
            raise KeyboardInterrupt
        for site in range(5 if round_number != 2 else 4):
            random = torch.Generator().manual_seed(100 * round_number + site)
            walked = {
                name: value + torch.rand(value.shape, generator=random).to(value.dtype)
                if value.is_floating_point()
                else value + site
                for name, value in weights.items()
            }
            yield f"site_{site}", Update(walked, 10 + site)

    def validate(self, weights: Weights, round_number: int) -> dict[str, dict[str, float]]:
        if self.breaks == ("validate", round_number):
            raise KeyboardInterrupt  # the aggregate and the state of this round are written, and do not count yet
        return {}


def run(path: Path, aggregation: Aggregation, rounds: int = 5, breaks: tuple[str, int] | None = None) -> None:
    with RunFolder(path, {"run": 1}) as folder:
        Rounds(Walks(breaks), folder, MANIFEST, aggregation, rounds, 4).run(lambda number, sites: None)


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((path / "checkpoints").glob("*.safetensors"))}


@pytest.mark.parametrize("aggregation", ALL, ids=lambda each: type(each).__name__)
def test_broken_off_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path, aggregation: Aggregation) -> None:
    run(tmp_path / "whole", aggregation)
    for breaks in (("train", 1), ("validate", 1), ("train", 3), ("validate", 3), ("validate", 4)):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", aggregation, breaks=breaks)
    run(tmp_path / "broken", aggregation)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")
    kinds = {name.split("_")[0] for name in files(tmp_path / "whole")}
    assert kinds == ({"round", "state"} if aggregation in WITH_STATE else {"round"})


@pytest.mark.parametrize("aggregation", WITH_STATE, ids=lambda each: type(each).__name__)
def test_the_state_is_of_parameters_and_goes_with_its_round(tmp_path: Path, aggregation: Aggregation) -> None:
    run(tmp_path, aggregation, rounds=6)
    kept = sorted((tmp_path / "checkpoints").glob("state_*.safetensors"))
    assert [file.stem for file in kept] == [f"state_{number:05d}" for number in range(6 - KEPT_CHECKPOINTS, 7)]
    state = load_file(kept[-1])
    assert {name: tensor_spec(value) for name, value in state.items()} == aggregation.state_specs(MANIFEST)
    assert "unrounded.half.weight" in state and not any("norm" in name for name in state)
    sent = load_file(tmp_path / "checkpoints" / "round_00006.safetensors")["half.weight"]
    assert torch.equal(state["unrounded.half.weight"].bfloat16(), sent)


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "state_00002.safetensors: expected the aggregation's state of round 2, found"),
        (damaged, "state_00002.safetensors: expected the aggregation's state of round 2, found"),
        (
            lambda file: file.write_bytes((file.parent / "round_00002.safetensors").read_bytes()),
            "state .*state_00002.safetensors: its tensors do not match the manifest: missing .*momentum.layer.weight",
        ),
    ],
)
def test_a_state_that_is_lost_is_refused_by_its_file_before_training(tmp_path: Path, harm: Any, said: str) -> None:
    run(tmp_path, FedAvgM(), rounds=2)
    harm(tmp_path / "checkpoints" / "state_00002.safetensors")
    before = files(tmp_path)
    with pytest.raises(ValueError, match=said):
        run(tmp_path, FedAvgM(), rounds=3, breaks=("train", 3))
    assert files(tmp_path) == before


def test_nothing_half_written_is_left_of_an_aggregation_that_fails(tmp_path: Path) -> None:
    class Fails(FedAvgM):
        def aggregate(self, updates: Any, before: Any) -> Any:
            yield next(iter(super().aggregate(updates, before)))
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        run(tmp_path, Fails())
    left = sorted(file.name for file in (tmp_path / "checkpoints").iterdir())
    assert left == ["last.json", "round_00000.safetensors"]


def test_too_few_sites_for_the_aggregation_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"run": 1}) as folder, pytest.raises(ValueError, match="Krum: found rounds of 4 sites"):
        Rounds(Walks(), folder, MANIFEST, Krum(1), 5, 4).run(lambda number, sites: None)
    assert not (tmp_path / "checkpoints").exists()
