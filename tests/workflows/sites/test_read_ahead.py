"""Images are read ahead of the encoder: in a thread, in their order, and with errors in their places."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fedmed_transforms import Prefetched
from fedmed_workflows.sites.datasets.encoded import ENCODE_BATCH, EncodedDataset, _read_ahead


class Transform:
    """Makes the picture of an image out of its file, and calls a function with the image's number before it."""

    def __init__(self, before: Callable[[int], None]) -> None:
        self.before, self.transforms = before, ()

    def __call__(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        number = int(Path(entry["image"]).read_text())
        self.before(number)
        return {"image": torch.full((1, 3, 2, 2), float(number))}


class Network(nn.Module):
    """Encodes a picture as its mean, after a call of a function with the numbers of the pictures of the pass."""

    def __init__(self, before: Callable[[list[int]], None]) -> None:
        super().__init__()
        self.before, self.visual = before, nn.Linear(1, 1).requires_grad_(False)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        self.before([int(number) for number in pictures[:, 0, 0, 0]])
        return pictures.mean(dim=(2, 3))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Images whose files hold their numbers, one more than a pass of the encoder takes."""
    monkeypatch.setattr("fedmed_workflows.sites.datasets.encoded.transform_digest", lambda transform: "")
    monkeypatch.setattr("fedmed_workflows.sites.datasets.encoded.is_random", lambda transform: False)
    for number in range(ENCODE_BATCH + 1):
        (tmp_path / f"{number}.txt").write_text(str(number))
    return [{"image": str(tmp_path / f"{number}.txt")} for number in range(ENCODE_BATCH + 1)]


def test_images_are_read_ahead_of_an_accelerator_and_not_of_the_cpu() -> None:
    stacks = [(0, torch.zeros(1))]
    assert _read_ahead(stacks, torch.device("cpu")) is stacks
    assert isinstance(_read_ahead(stacks, torch.device("cuda")), Prefetched)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has images read ahead as for an accelerator."""
    name = "fedmed_workflows.sites.datasets.encoded._read_ahead"
    monkeypatch.setattr(name, lambda stacks, device: Prefetched(stacks))


@pytest.mark.usefixtures("accelerator")
def test_the_next_image_is_read_while_the_encoder_works(data: list[dict[str, Any]]) -> None:
    last_is_read = threading.Event()
    transform = Transform(lambda number: last_is_read.set() if number == ENCODE_BATCH else None)
    seen: list[bool] = []
    dataset = EncodedDataset(data, transform, Network(lambda numbers: seen.append(last_is_read.wait(timeout=30))))
    assert seen == [True, True]
    assert dataset.features is not None
    assert dataset.features[:, 0].tolist() == [float(number) for number in range(ENCODE_BATCH + 1)]


@pytest.mark.usefixtures("accelerator")
def test_an_error_comes_after_the_images_before_it(data: list[dict[str, Any]]) -> None:
    def refuse(number: int) -> None:
        if number == ENCODE_BATCH:
            raise ValueError(f"{number}.txt: expected an image")

    passes: list[list[int]] = []
    with pytest.raises(ValueError, match=f"{ENCODE_BATCH}.txt: expected an image"):
        EncodedDataset(data, Transform(refuse), Network(passes.append))
    assert passes == [list(range(ENCODE_BATCH))]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
