"""Checkpoints in the layouts that trainers write: the same network from each, and refusals that name the file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fedmed_networks import FACMIC, FedSAM, checkpoint_class_names
from fedmed_networks.checkpoint_file import own_names, read_state
from fedmed_networks.clip.foundation import shared_clip
from fedmed_networks.sam.foundation import shared_sam
from fedmed_workflows import continued_network

State = dict[str, torch.Tensor]


class Unknown:
    """A class that a checkpoint may hold, and that reading it must not create."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def __setstate__(self, state: Any) -> None:
        type(self).made += 1


def adam() -> dict[str, Any]:
    return torch.optim.Adam(nn.Linear(2, 2).parameters()).state_dict()


def lightning(state: State) -> dict[str, Any]:
    """As Lightning's trainer writes it; hyperparameters are of any class."""
    return {
        "epoch": 3, "global_step": 30, "pytorch-lightning_version": "2.4.0", "loops": {"fit_loop": {}},
        "state_dict": {f"sam.{name}": value for name, value in state.items()}, "optimizer_states": [adam()],
        "hyper_parameters": argparse.Namespace(rate=0.1), "callbacks": {"checkpoint": Unknown()},
    }  # fmt: skip


LAYOUTS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "model and optimizer": lambda state: {"model": state, "optimizer": adam(), "epoch": 3},
    "name and state_dict": lambda state: {"model": "sam", "state_dict": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.5},
    "lightning": lightning,
    "module": lambda state: {f"module.{name}": value for name, value in state.items()},
    "sam": lambda state: {f"sam.{name}": value for name, value in state.items()},
    "two prefixes": lambda state: {"model": {f"module.sam.{name}": value for name, value in state.items()}},
    "parameters": lambda state: {
        name: nn.Parameter(value) if value.is_floating_point() else value for name, value in state.items()
    },
}


def write(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def drawn(state: State) -> State:
    """Other values, which half precision holds exactly."""
    random = torch.Generator().manual_seed(3)
    return {
        name: torch.randint(-8, 8, value.shape, generator=random) / 16 if value.is_floating_point() else value.clone()
        for name, value in state.items()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("half", [False, True])
def test_sam_in_every_layout(small_sam: dict[str, Any], tmp_path: Path, layout: str, half: bool) -> None:
    expected = drawn(shared_sam(small_sam, 64).state_dict())
    state = {name: value.half() if half else value for name, value in expected.items()}
    found = shared_sam(small_sam, 64, write(tmp_path / "sam.pth", LAYOUTS[layout](state))).state_dict()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in expected.items())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("half", [False, True])
def test_clip_in_every_layout(small_clip: dict[str, Any], tmp_path: Path, layout: str, half: bool) -> None:
    expected = drawn(shared_clip(small_clip).model.state_dict())
    state = {name: value.half() if half and value.is_floating_point() else value for name, value in expected.items()}
    found = shared_clip(small_clip, write(tmp_path / "clip.pt", LAYOUTS[layout](state))).model.state_dict()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in expected.items())


@pytest.mark.parametrize("layout", [*LAYOUTS, "safetensors"])
def test_a_trained_network_in_every_layout(small_clip: dict[str, Any], tmp_path: Path, layout: str) -> None:
    network = FACMIC(["dots", "stripes"], small_clip)
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    expected["attention.0.weight"] += 1
    path = tmp_path / ("model.safetensors" if layout == "safetensors" else "model.pt")
    save_file(expected, path) if layout == "safetensors" else write(path, LAYOUTS[layout](expected))
    assert checkpoint_class_names(path) == ["dots", "stripes"]
    found = continued_network(FACMIC(["dots", "stripes"], small_clip), path).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_no_class_of_a_checkpoint_is_created(tmp_path: Path) -> None:
    path, before = write(tmp_path / "last.ckpt", lightning({"weight": torch.ones(2)})), Unknown.made
    assert read_state(path)["sam.weight"].tolist() == [1, 1] and Unknown.made == before


@pytest.mark.parametrize("content", [nn.Linear(2, 2), {"model": nn.Linear(2, 2)}, {"state_dict": Unknown()}])
def test_a_pickled_network_is_refused_and_its_state_loads(tmp_path: Path, content: Any) -> None:
    path = write(tmp_path / "whole.pt", content)
    with pytest.raises(ValueError) as refused:
        read_state(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ") and "save its state_dict(): torch.save(network.state_dict(), file)" in text
    torch.save(nn.Linear(2, 2).state_dict(), path)  # as the message says
    assert set(read_state(path)) == {"weight", "bias"}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_no_numbers_are_refused(
    small_clip: dict[str, Any], small_sam: dict[str, Any], tmp_path: Path, wrong: float, dtype: torch.dtype
) -> None:
    network = FACMIC(["a", "b"], small_clip)
    starts: dict[str, tuple[State, Callable[[Path], Any]]] = {
        "clip.pt": (shared_clip(small_clip).model.state_dict(), lambda path: FACMIC(["a", "b"], small_clip, path)),
        "sam.pth": (shared_sam(small_sam, 64).state_dict(), lambda path: FedSAM(1, small_sam, 64, path)),
        "model.pt": (network.state_dict(), lambda path: continued_network(network, path)),
    }
    for name, (state, load) in starts.items():
        damaged = {key: value.clone() for key, value in state.items()}
        key = next(key for key in damaged if key.endswith("weight"))
        damaged[key] = damaged[key].to(dtype)
        damaged[key].reshape(-1)[1] = wrong
        with pytest.raises(ValueError) as refused:
            load(write(tmp_path / name, damaged))
        assert str(refused.value).startswith(f"{tmp_path / name}: ") and key in str(refused.value)


def test_two_networks_in_a_file_are_refused(tmp_path: Path) -> None:
    state = {"weight": torch.ones(2)}
    with pytest.raises(ValueError, match="model and network"):
        read_state(write(tmp_path / "two.pt", {"model": state, "network": state}))


def test_prefixes() -> None:
    one, two = torch.ones(1), torch.zeros(1)
    assert own_names({"module.a.b": one, "module.c": two}, ["a.b", "c"]) == {"a.b": one, "c": two}
    assert own_names({"a.b": one, "c": two}, ["a.b", "c"]) == {"a.b": one, "c": two}
    both = {"teacher.a.b": one, "student.a.b": two}
    assert own_names(both, ["a.b"]) == both  # the network refuses them
    assert set(own_names({"net.a": one, "net.b": one, "loss.c": two}, ["a", "b"])) == {"a", "b", "loss.c"}
    assert set(own_names({"net.a": one, "net.b": one, "a": two}, ["a", "b"])) == {"net.a", "net.b", "a"}
