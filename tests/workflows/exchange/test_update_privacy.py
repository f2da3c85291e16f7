"""A site's update clipped and noised: values written out by hand, for every kind of tensor that travels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from fedmed_workflows.exchange.privacy.gaussian_update import GaussianUpdate


def no_noise(name: str, count: int) -> Any:
    pytest.fail("noise was drawn")


def constant(value: float) -> Any:
    return lambda name, count: np.full(count, value)


@pytest.mark.parametrize(
    ("clip_norm", "expected"),
    [
        (1.0, ([1.6, 2.0], [[10.8]])),
        (2.5, ([2.5, 2.0], [[12.0]])),
        (5.0, ([4.0, 2.0], [[14.0]])),
        (100.0, ([4.0, 2.0], [[14.0]])),
    ],
)
def test_all_tensors_are_clipped_as_one_vector(clip_norm: float, expected: Any) -> None:
    received = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[10.0]])}
    trained = {"a": torch.tensor([4.0, 2.0]), "b": torch.tensor([[14.0]])}  # an update of norm 5
    sent = GaussianUpdate(clip_norm, 0, 1e-5).answer(trained, received, no_noise)
    for name, values in zip(received, expected, strict=True):
        torch.testing.assert_close(sent[name], torch.tensor(values), rtol=1e-6, atol=0)


def test_noise_is_on_every_value_and_scaled_by_both_settings() -> None:
    received = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor(10.0)}
    drawn: list[tuple[str, int]] = []

    def noise(name: str, count: int) -> Any:
        drawn.append((name, count))
        return np.arange(1, count + 1) * (1.0 if name == "a" else -1.0)

    sent = GaussianUpdate(4.0, 0.5, 1e-5).answer(received, received, noise)  # a standard deviation of 2
    assert drawn == [("a", 2), ("b", 1)]
    assert sent["a"].tolist() == [[3.0, 6.0]] and sent["b"].item() == 8.0


def test_what_did_not_train_goes_back_as_it_came_and_in_its_place() -> None:
    received = {"norm.running_var": torch.full((2,), 9.0), "norm.bias": torch.zeros(1), "norm.count": torch.tensor(7)}
    sent = GaussianUpdate(0.5, 1.0, 1e-5).answer({"norm.bias": torch.ones(1)}, received, constant(3.0))
    assert list(sent) == list(received)
    assert sent["norm.running_var"].tolist() == [9.0, 9.0] and torch.equal(sent["norm.count"], torch.tensor(7))
    assert sent["norm.bias"].item() == 0.5 + 1.5


def test_arithmetic_comes_before_the_cast() -> None:
    received = {"a": torch.ones(1, dtype=torch.bfloat16)}
    trained = {"a": torch.tensor([1.003])}
    sent = GaussianUpdate(1.0, 0.003, 1e-5).answer(trained, received, constant(1.0))
    assert sent["a"].dtype == torch.bfloat16
    # update and noise are 0.003 each: either alone rounds to 1 in steps of 0.0078, both together to the next step
    assert sent["a"].item() == 1.0078125


def test_without_an_update_only_noise_is_sent() -> None:
    received = {"a": torch.tensor([1.0, 2.0])}
    assert GaussianUpdate(1.0, 0, 1e-5).answer(received, received, no_noise)["a"].tolist() == [1.0, 2.0]


def test_an_update_that_is_not_finite_stays_visible() -> None:
    received = {"a": torch.zeros(2)}
    for value in (math.nan, math.inf):
        sent = GaussianUpdate(1.0, 0.1, 1e-5).answer({"a": torch.tensor([1.0, value])}, received, constant(0.0))
        assert not bool(torch.isfinite(sent["a"]).all())


def test_what_is_sent_shares_no_memory_with_what_was_received() -> None:
    received = {"a": torch.ones(2), "count": torch.tensor(3)}
    sent = GaussianUpdate(1.0, 0, 1e-5).answer({"a": received["a"]}, received, no_noise)
    for value in sent.values():
        value.zero_()
    assert received["a"].tolist() == [1.0, 1.0] and received["count"].item() == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0, 1.0, 1e-5), "privacy: clip_norm: found 0, expected a number above 0"),
        ((-1.0, 1.0, 1e-5), "clip_norm: found -1.0"),
        ((math.inf, 1.0, 1e-5), "clip_norm: found inf"),
        ((math.nan, 1.0, 1e-5), "clip_norm: found nan"),
        ((1.0, -0.1, 1e-5), "noise_multiplier: found -0.1, expected a number of at least 0"),
        ((1.0, math.inf, 1e-5), "noise_multiplier: found inf"),
        ((1.0, 1.0, 0), "delta: found 0, expected a number above 0 and below 1"),
        ((1.0, 1.0, 1), "delta: found 1,"),
        (("1", 1.0, 1e-5), "clip_norm: found '1'"),
        ((1.0, None, 1e-5), "noise_multiplier: found None"),
        ((1.0, True, 1e-5), "noise_multiplier: found True"),
    ],
)
def test_values_out_of_range_are_refused(values: Any, said: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011, the message is compared below
        GaussianUpdate(*values)
    assert said in str(refused.value)
