"""Studies one after the other, each read when the network is ready for it; one that can't be read says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from monai.data import IterableDataset, MetaTensor
from monai.transforms import Compose, LoadImaged
from monai.utils.enums import CommonKeys

from fedmed_transforms.studies.studies import ERROR
from fedmed_workflows.errors import refusal

SECONDS = "seconds"
"""Entry of an item: how long it took to read (``read``) and to prepare for the network (``preprocess``)."""


SOURCE = "source"
"""Entry of an item: no values, and the metadata of the image as it was read, whatever the preprocessing made of it."""


class StudyDataset(IterableDataset):  # type: ignore[misc]
    """A stream of studies and images; an error of one becomes an item that holds it, and the next one follows.

    Parameters
    ----------
    data
        Items as :func:`fedmed_transforms.find_studies` makes them; any iterable, an endless one too.
    transform
        The preprocessing; what comes up to its last ``LoadImaged``, or all of it, counts as reading.
    """

    def __init__(self, data: Iterable[Mapping[str, Any]], transform: Callable[..., Any]) -> None:
        super().__init__(data, _Guarded(transform))


class _Guarded:
    """A preprocessing that passes refused items on, and turns its own errors into such."""

    def __init__(self, transform: Callable[..., Any]) -> None:
        self.transform = transform if isinstance(transform, Compose) else Compose([transform])
        steps = self.transform.transforms
        loaders = [number for number, step in enumerate(steps, start=1) if isinstance(step, LoadImaged)]
        self.loaded = max(loaders, default=len(steps))

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        if ERROR in item:
            return dict(item)
        try:
            return self._prepare(item)
        except Exception as error:  # whatever a file led to: the other studies are to be seen to
            return {"path": item["path"], "study": item["study"], ERROR: refusal(error, item["path"])}

    def _prepare(self, item: Mapping[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        read = self.transform(dict(item), end=self.loaded)
        source = MetaTensor(torch.empty(0), meta=dict(read[CommonKeys.IMAGE].meta))
        middle = time.perf_counter()
        prepared = self.transform(read, start=self.loaded)
        seconds = {"read": middle - start, "preprocess": time.perf_counter() - middle}
        return {**prepared, SOURCE: source, SECONDS: seconds}
