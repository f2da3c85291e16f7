"""A part of the run: its name, its function and its time limit; and what the function gets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


class SkippedPart(Exception):
    """Ends a part that cannot run here; the text is the reason."""


@dataclass(frozen=True)
class Part:
    """A part of the run.

    Attributes
    ----------
    name
        Its name in the results.
    function
        ``module:function`` of a function that takes a :class:`PartRun`.
    seconds
        Its time limit.
    """

    name: str
    function: str
    seconds: float


@dataclass(frozen=True)
class PartRun:
    """The surroundings of a part that runs.

    Attributes
    ----------
    device
        The GPU, or the CPU in its place.
    folder
        An empty folder, removed at the end of the part.
    record
        Keeps figures by name: plain values. They count also if the part does not reach its end.
    """

    device: torch.device
    folder: Path
    record: Callable[..., None]

    @property
    def small(self) -> bool:
        """Whether the CPU stands for the GPU, at small sizes."""
        return self.device.type == "cpu"

    @property
    def other_rounding(self) -> Any:
        """Makes the CPU compute as another device would if it stands for the GPU: without oneDNN, which rounds
        otherwise, so that a comparison with the CPU compares something.
        """
        return torch.backends.mkldnn.flags(enabled=False) if self.small else nullcontext()

    def synchronize(self) -> None:
        """Waits until the device has computed everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def need_gpu(self, gigabytes: float = 0) -> None:
        """Skips the part without a GPU of so much memory that is free."""
        if self.device.type != "cuda":
            raise SkippedPart("no GPU")
        free = torch.cuda.mem_get_info()[0] / 1e9
        if free < gigabytes:
            raise SkippedPart(f"{free:.0f} GB of free GPU memory, expected {gigabytes:.0f} GB")


def expect(holds: bool, text: str) -> None:
    """Fails the part unless a condition holds.

    Raises
    ------
    AssertionError
        With the text.
    """
    if not holds:
        raise AssertionError(text)
