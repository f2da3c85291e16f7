"""Loading ahead: order, errors, and a loop that does not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from fedmed_transforms import Prefetched
from tests.waiting import END_SECONDS


def test_items_come_in_order_epoch_after_epoch() -> None:
    loader = torch.utils.data.DataLoader(list(range(7)), batch_size=2)
    ahead = Prefetched(loader)
    assert len(ahead) == 4
    for _ in range(2):
        assert [batch.tolist() for batch in ahead] == [[0, 1], [2, 3], [4, 5], [6]]


def test_an_error_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("b.dcm: damaged")

    seen = []
    with pytest.raises(ValueError, match=r"b\.dcm"):
        for item in Prefetched(items(), ahead=3):
            seen.append(item)
    assert seen == [1, 2]


def test_at_most_so_many_items_wait() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    iterator = iter(Prefetched(items(), ahead=3))
    assert next(iterator) == 0
    time.sleep(0.2)
    assert taken == [0, 1, 2, 3]
    iterator.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_the_next_item_is_loaded_meanwhile() -> None:
    """Each item's loading begins before the loop has asked for it."""
    begun = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(begun):
            event.set()
            yield number

    for number in Prefetched(items(), ahead=1):
        if number + 1 < len(begun):
            assert begun[number + 1].wait(timeout=END_SECONDS)


def test_ahead_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="ahead: expected at least 1"):
        Prefetched([], ahead=0)
