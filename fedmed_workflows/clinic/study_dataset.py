"""A stream of studies: each is read when the network is ready for it, and errors are passed on as items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from monai.data import IterableDataset, MetaTensor
from monai.transforms import Compose, LoadImaged
from monai.utils.enums import CommonKeys
from torch.utils.data import get_worker_info

from fedmed_transforms.studies.studies import ERROR
from fedmed_workflows.errors import refusal

SECONDS = "seconds"
"""Entry of an item: the seconds of its reading (``read``) and of its preprocessing (``preprocess``)."""

SOURCE = "source"
"""Entry of an item: the metadata of the image as it was read, before the preprocessing, without its values."""


class StudyDataset(IterableDataset):  # type: ignore[misc]
    """Reads studies and images one after the other; a study that fails becomes an item with its error.

    Parameters
    ----------
    data
        Items of :func:`fedmed_transforms.find_studies`; any iterable, also an endless one.
    transform
        The preprocessing. Its steps up to the last ``LoadImaged`` count as reading, or all steps without one.

    Examples
    --------
    >>> from fedmed_transforms import LoadMedicalImaged
    >>> from fedmed_workflows import StudyDataset
    >>> (item,) = StudyDataset([{"image": "a.png", "path": "a.png", "study": ""}], LoadMedicalImaged("image"))
    >>> item["error"][:14]  # there is no such file
    'a.png: no such'
    """

    def __init__(self, data: Iterable[Mapping[str, Any]], transform: Callable[..., Any]) -> None:
        super().__init__(data, _Guarded(transform))

    def __iter__(self) -> Iterator[Any]:
        """Iterates over the prepared items; MONAI's generator would hold an item while the network works on it."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        return map(self.transform, islice(self.data, first, None, step))


class _Guarded:
    """A preprocessing that passes refused items on and turns errors into refused items."""

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
        except Exception as error:  # any error of a file: the other studies go on
            return {"path": item["path"], "study": item["study"], ERROR: refusal(error, item["path"])}

    def _prepare(self, item: Mapping[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        read = self.transform(dict(item), end=self.loaded)
        source = MetaTensor(torch.empty(0), meta=dict(read[CommonKeys.IMAGE].meta))
        middle = time.perf_counter()
        prepared = self.transform(read, start=self.loaded)
        seconds = {"read": middle - start, "preprocess": time.perf_counter() - middle}
        return {**prepared, SOURCE: source, SECONDS: seconds}
