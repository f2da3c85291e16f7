"""The datasets of a segmentation: slices for training, cut once from each volume, and whole images for evaluation."""

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

from fedmed_workflows.errors import refusal
from fedmed_workflows.sites.datasets.fingerprint import image_digest, is_random, transform_digest
from fedmed_workflows.sites.datasets.tensor_cache import TensorCache

KEYS = ("image", "label")

Slices = dict[str, torch.Tensor]
"""``image`` (N, 1 or 3, H, W) float32 and ``label`` (N, n, H, W) uint8."""


class SliceDataset(Dataset[dict[str, Any]]):
    """The slices of labelled images. Each slice is a sample.

    Every image is read, scaled and cut on construction, before any training. The slices are kept on disk in their
    original size; the cache key consists of the content of image and label, and the transform. A sample reads only its
    own slice.

    Parameters
    ----------
    data
        ``{"image": path, "label": path}`` for each image.
    transform
        Reads the paths into slices: ``image`` (N, 1 or 3, H, W) in [0, 1] and ``label`` (N, n, H, W), 0 and 1. The
        transform must not be random.
    slice_transform
        Converts a slice ``image`` (1 or 3, H, W) and ``label`` (n, H, W) to the input of the network and the target of
        its loss. This transform may be random.
    cache_dir
        Folder of the slices; None keeps the slices in memory.

    Raises
    ------
    ValueError
        The transform is random, there is no image, an image or its label is refused (the message names the file), or
        all labels are empty.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import SliceDataset
    >>> cut = lambda entry: {"image": torch.zeros(5, 1, 8, 8), "label": torch.ones(5, 1, 8, 8)}
    >>> dataset = SliceDataset([{"image": "ct.nii.gz", "label": "tumour.nii.gz"}], cut, lambda sample: sample)
    >>> len(dataset), dataset[0]["image"].shape
    (5, torch.Size([1, 8, 8]))
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[dict[str, Any]], Mapping[str, Any]],
        slice_transform: Callable[[dict[str, Any]], Mapping[str, Any]],
        cache_dir: str | Path | None = None,
    ) -> None:
        if is_random(transform):
            raise ValueError("transform: found random transforms, expected them in slice_transform")
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
    """The cache of slices, with the keys of an image and its label."""

    def __init__(self, folder: Path, transform: Any) -> None:
        self.cache = TensorCache(folder)
        self.common = transform_digest(transform)

    def key(self, entry: Mapping[str, Any]) -> str:
        contents = " ".join(image_digest(entry[key]) for key in KEYS)
        return hashlib.sha256(f"slices {contents} {self.common}".encode()).hexdigest()


def _read(
    entry: Mapping[str, Any], transform: Callable[[dict[str, Any]], Mapping[str, Any]], files: _SliceFiles | None
) -> tuple[Slices, Slices | Path]:
    """Returns the slices of an image, and the slices' file, or the slices themselves without a cache."""
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
    loaded = apply_transform(entry, transform)
    image, label = (convert_to_tensor(loaded[key], track_meta=False) for key in KEYS)
    if image.stride(1) == 0:  # three equal channels of a grey slice: keep one
        image = image[:, :1]
    return {"image": image.float().contiguous(), "label": label.to(torch.uint8).contiguous()}


class ImageDataset(Dataset[dict[str, Any]]):
    """Whole labelled images for evaluation. All images are read once on construction, before any training.

    Parameters
    ----------
    data
        ``{"image": path, "label": path}`` for each image.
    transform
        Reads the paths into ``image`` (1 or 3, X, Y[, Z]) in [0, 1] and ``label`` (n, X, Y[, Z]) of the same geometry.
    labelled
        Whether at least one label must have a labelled voxel, as for a site that is evaluated on all its images.

    Raises
    ------
    ValueError
        There is no image, an image or its label is refused, or all labels are empty although `labelled` is set. The
        message names the file.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import ImageDataset
    >>> load = lambda entry: {"image": torch.zeros(1, 8, 8, 5), "label": torch.ones(1, 8, 8, 5)}
    >>> dataset = ImageDataset([{"image": "ct.nii.gz", "label": "tumour.nii.gz"}], load)
    >>> len(dataset), dataset[0]["image"].shape
    (1, torch.Size([1, 8, 8, 5]))
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[dict[str, Any]], Mapping[str, Any]],
        labelled: bool = False,
    ) -> None:
        _check_some(data)
        self.data, self.transform = [dict(entry) for entry in data], transform
        images = (apply_transform(entry, transform) for entry in tqdm(self.data, "images", leave=False))
        found = [bool(image["label"].any()) for image in images]
        if labelled and not any(found):
            raise ValueError(_all_empty(self.data))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**apply_transform(self.data[index], self.transform), "item": index}


def _check_some(data: Sequence[Mapping[str, Any]]) -> None:
    if not data:
        raise ValueError("data: found no labelled image, expected at least one to train on, and one to validate by")


def _all_empty(data: Sequence[Mapping[str, Any]]) -> str:
    others = len(data) - 1
    return f"{data[0]['label']}: found no labelled voxel in this label and the {others} others, expected some"


def apply_transform(
    entry: Mapping[str, Any], transform: Callable[[dict[str, Any]], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Applies a transform to an image and its label.

    Raises
    ------
    ValueError
        The image or the label is refused. The message names the file.
    """
    try:
        return transform(dict(entry))
    except Exception as error:
        raise ValueError(refusal(error, *(str(entry[key]) for key in KEYS))) from error
