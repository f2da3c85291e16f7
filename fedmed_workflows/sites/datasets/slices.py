"""Datasets of a segmentation: slices to train on, each volume read and cut once; whole images to be judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.utils import convert_to_tensor
from safetensors import safe_open
from torch.utils.data import Dataset
from tqdm import tqdm

from fedmed_networks.weights import content_digest
from fedmed_workflows.errors import refusal
from fedmed_workflows.sites.datasets.fingerprint import is_random, transform_digest
from fedmed_workflows.sites.datasets.tensor_cache import TensorCache

KEYS = ("image", "label")

Slices = dict[str, torch.Tensor]
"""``image`` (N, 1 or 3, H, W) float32 and ``label`` (N, n, H, W) uint8."""


class SliceDataset(Dataset[dict[str, Any]]):
    """The slices of labelled images, each a sample.

    Every image is read, scaled and cut on construction, before any training. Its slices are kept on disk in their own
    size, found again by the content of image and label and by the transform; a sample reads its slice alone.

    Parameters
    ----------
    data
        ``{"image": path, "label": path}`` an image.
    transform
        Paths to slices: ``image`` (N, 1 or 3, H, W) in [0, 1] and ``label`` (N, n, H, W), 0 and 1. Nothing random.
    slice_transform
        A slice ``image`` (1 or 3, H, W) and ``label`` (n, H, W) to what the network eats and its loss compares with.
        It may be random.
    cache_dir
        Folder of the slices; None keeps them in memory.

    Raises
    ------
    ValueError
        The transform is random, there is no image, an image or its label is refused (the message names the file), or
        all labels are empty.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[dict[str, Any]], Mapping[str, Any]],
        slice_transform: Callable[[dict[str, Any]], Mapping[str, Any]],
        cache_dir: str | Path | None = None,
    ) -> None:
        if is_random(transform):
            raise ValueError("transform: found random transforms, which belong into slice_transform")
        _check_some(data)
        self.data, self.slice_transform = [dict(entry) for entry in data], slice_transform
        cache = None if cache_dir is None else _SliceFiles(Path(cache_dir), transform)
        self.kept: list[Slices | Path] = []
        counts, labelled = [], False
        for entry in tqdm(self.data, "slices", leave=False):
            slices, kept = _read(entry, transform, cache)
            labelled |= bool(slices["label"].any())
            counts.append(len(slices["label"]))
            self.kept.append(kept)
        if not labelled:
            raise ValueError(f"{_all_empty(self.data)} among those that the split left for training")
        self.samples = [(item, place) for item, count in enumerate(counts) for place in range(count)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item, place = self.samples[index]
        kept = self.kept[item]
        if isinstance(kept, Path):
            with safe_open(kept, framework="pt") as file:
                slices = {key: file.get_slice(key)[place : place + 1][0] for key in KEYS}
        else:
            slices = {key: kept[key][place] for key in KEYS}
        sample = self.slice_transform({"image": slices["image"], "label": slices["label"].float()})
        return {**{key: convert_to_tensor(sample[key], track_meta=False) for key in KEYS}, "item": item}


class _SliceFiles:
    """Where the slices of an image and its label are kept."""

    def __init__(self, folder: Path, transform: Any) -> None:
        self.cache = TensorCache(folder)
        self.common = transform_digest(transform)

    def key(self, entry: Mapping[str, Any]) -> str:
        contents = " ".join(content_digest(entry[key]) for key in KEYS)
        return hashlib.sha256(f"slices {contents} {self.common}".encode()).hexdigest()


def _read(
    entry: Mapping[str, Any], transform: Callable[[dict[str, Any]], Mapping[str, Any]], files: _SliceFiles | None
) -> tuple[Slices, Slices | Path]:
    """The slices of an image, and where they can be found again: on disk, or as they are."""
    if files is None:
        slices = _cut(entry, transform)
        return slices, slices
    key = files.key(entry)
    found = files.cache.get(key)
    if found is None:
        found = _cut(entry, transform)
        files.cache.put(key, found)
    return found, files.cache.file(key)


def _cut(entry: Mapping[str, Any], transform: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Slices:
    read = prepared(entry, transform)
    image, label = (convert_to_tensor(read[key], track_meta=False) for key in KEYS)
    if image.stride(1) == 0:  # a grey slice shown as three channels is kept once
        image = image[:, :1]
    return {"image": image.float().contiguous(), "label": label.to(torch.uint8).contiguous()}


class ImageDataset(Dataset[dict[str, Any]]):
    """Labelled images, whole, to be judged by; all are read once on construction, before any training.

    Parameters
    ----------
    data
        ``{"image": path, "label": path}`` an image.
    transform
        Paths to ``image`` (1 or 3, X, Y[, Z]) in [0, 1] and ``label`` (n, X, Y[, Z]) of the same geometry.
    labelled
        Whether some label must hold something, as of a site that is judged by all its images.

    Raises
    ------
    ValueError
        There is no image, an image or its label is refused, or all labels are empty and must not be; the message names
        the file.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[dict[str, Any]], Mapping[str, Any]],
        labelled: bool = False,
    ) -> None:
        _check_some(data)
        self.data, self.transform = [dict(entry) for entry in data], transform
        found = [bool(prepared(entry, transform)["label"].any()) for entry in tqdm(self.data, "images", leave=False)]
        if labelled and not any(found):
            raise ValueError(_all_empty(self.data))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**prepared(self.data[index], self.transform), "item": index}


def _check_some(data: Sequence[Mapping[str, Any]]) -> None:
    if not data:
        raise ValueError("data: found no labelled image, expected at least one to train on, and one to validate by")


def _all_empty(data: Sequence[Mapping[str, Any]]) -> str:
    others = len(data) - 1
    return f"{data[0]['label']}: found no labelled voxel in this label and the {others} others, expected some"


def prepared(entry: Mapping[str, Any], transform: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What a transform makes of an image and its label.

    Raises
    ------
    ValueError
        The image or the label is refused; the message names the file.
    """
    try:
        return transform(dict(entry))
    except Exception as error:
        raise ValueError(refusal(error, *(str(entry[key]) for key in KEYS))) from error
