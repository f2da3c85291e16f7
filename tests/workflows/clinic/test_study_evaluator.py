"""A run over studies that some of them would have stopped, and one without an end."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, MetaTensor
from monai.engines.utils import IterationEvents
from torch import nn

from fedmed_workflows.clinic.result_files import RefusedStudies
from fedmed_workflows.clinic.study_dataset import StudyDataset
from fedmed_workflows.clinic.study_evaluator import StudyEvaluator, StudyEvents


def item(name: str, **entries: Any) -> dict[str, Any]:
    return {"path": name, "study": "", "series": "", "passed_over": "", "name": name, **entries}


def load(data: dict[str, Any]) -> dict[str, Any]:
    """An image of ones; what its name says may go wrong with it, does."""
    if "unreadable" in data["path"]:
        raise ValueError(f"{data['path']}: expected a file, found something else")
    image = MetaTensor(torch.full((1, 4, 4), float("large" not in data["path"])))
    return {**data, "image": image}


class Choosy(nn.Module):
    """Stands in for a network that some images are too large for."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if not image.any():
            raise torch.OutOfMemoryError("out of memory")
        return 2 * image


def evaluator(data: Any, tmp_path: Path, postprocessing: Any = None) -> StudyEvaluator:
    return StudyEvaluator(
        device="cpu", val_data_loader=DataLoader(StudyDataset(data, load), batch_size=1), network=Choosy(),
        postprocessing=postprocessing, val_handlers=[RefusedStudies(str(tmp_path))],
    )  # fmt: skip


def test_every_kind_of_refusal(tmp_path: Path) -> None:
    names = ["first", "unreadable", "found bad", "large", "postprocessing", "writing", "last"]
    data = [item(name, image=name) for name in names]
    data[2] = {"path": "found bad", "study": "1.2", "error": "found bad: expected one series"}

    def check(output: dict[str, Any]) -> dict[str, Any]:
        if output["path"] == "postprocessing":
            raise ArithmeticError("no such number")
        return output

    def write(engine: Engine) -> None:
        (answered,) = engine.state.batch
        if answered["path"] == "writing":
            raise ValueError("writing: its result can't be written")
        written.append((answered["path"], float(engine.state.output[0]["pred"].mean())))

    written: list[tuple[str, float]] = []
    told: list[str] = []
    engine = evaluator(data, tmp_path, check)
    engine.add_event_handler(IterationEvents.MODEL_COMPLETED, write)
    engine.add_event_handler(StudyEvents.REFUSED, lambda engine: told.append(engine.state.refusal.path))
    with pytest.raises(ValueError, match="5 of 7 studies and images were refused; the first: unreadable: "):
        engine.run()
    assert written == [("first", 2.0), ("last", 2.0)] and told == names[1:-1]
    text = (tmp_path / "errors.csv").read_text()
    for said in ("unreadable,,", "found bad,1.2,found bad: expected one", "large,,large: OutOfMemoryError: out of mem",
                 "postprocessing: ArithmeticError: no such number", "can't be written"):  # fmt: skip
        assert said in text
    engine.data_loader.dataset.data = data[:1]
    engine.run()


def test_a_stream_ends_when_it_is_told_to_and_holds_one_image_at_a_time(tmp_path: Path) -> None:
    images: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def stream() -> Iterator[dict[str, Any]]:
        for number in itertools.count():
            gc.collect()
            alive.append(sum(image() is not None for image in images))  # before another one is read
            yield item("large" if number % 3 == 1 else f"study {number}", image="")

    engine = evaluator(stream(), tmp_path)

    def remember(engine: Engine) -> None:
        images.append(weakref.ref(engine.state.output[0]["pred"]))

    engine.add_event_handler(IterationEvents.MODEL_COMPLETED, remember)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=20), engine.terminate)
    with pytest.raises(ValueError, match="7 of 20"):
        engine.run()
    assert (len(alive), len(images), max(alive)) == (20, 13, 0)


def test_the_dataset_does_not_hold_an_item_while_it_waits() -> None:
    iterator = iter(StudyDataset([item(name, image=name) for name in "ab"], load))
    image = weakref.ref(next(iterator)["image"])
    gc.collect()
    assert image() is None
    assert next(iterator)["path"] == "b"
