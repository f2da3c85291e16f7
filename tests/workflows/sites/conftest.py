"""A network, pictures and an empty cache for the tests of features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedmed_networks import FACMIC
from tests.workflows.sites.encoded_pictures import Data, Encoded, write_pictures


@pytest.fixture
def network(small_clip: dict[str, Any]) -> FACMIC:
    return FACMIC(["a", "b"], clip=small_clip)


@pytest.fixture
def encoded(network: FACMIC) -> Iterator[Encoded]:
    counter = Encoded(network)
    yield counter
    counter.hook.remove()


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_pictures(tmp_path / "pictures", 5)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
