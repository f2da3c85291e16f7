"""The dataset of encoded images: features of a frozen encoder, computed once for each image and kept on disk."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.utils import convert_to_tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from fedmed_networks.weights import module_digest
from fedmed_transforms.loading.prefetch import Prefetched
from fedmed_workflows.errors import refusal
from fedmed_workflows.sites.datasets.class_label import class_index
from fedmed_workflows.sites.datasets.fingerprint import image_digest, is_random, transform_digest
from fedmed_workflows.sites.datasets.stored_pictures import PICTURES, StoredPictures
from fedmed_workflows.sites.datasets.tensor_cache import TensorCache

logger = logging.getLogger(__name__)

ENCODE_BATCH = 32
"""Number of pictures in a pass of the encoder. The last pass is padded to this number, so that the bits of a feature do
not depend on the other images in the pass, also after an interruption."""


class EncodedDataset(Dataset[dict[str, Any]]):
    """Images as features of a frozen encoder, or as pictures if the encoder trains or augmentation is random.

    The cache key of a feature consists of the image's content, the encoder's weights, the device type and the
    preprocessing. A change of any of these computes the feature again. An image with several pictures (the slices of a
    volume) gives one sample for each picture, all with the image's label and with the image's index under ``item``.

    Parameters
    ----------
    data
        ``{"image": path, "label": int}`` for each image, at least one. The label may be missing, or may be a label file
        that :func:`fedmed_workflows.sites.datasets.class_label.class_index` reads, with a class of the network.
    transform
        Reads a path into pictures (N, 3, S, S) under the key ``image``.
    network
        A network with ``visual``, its encoder, and ``encode(pictures) -> (N, D)``.
    cache_dir
        Folder of the features, or of the pictures if the encoder trains. None keeps features in memory only, and reads
        the image again for every picture.

    Attributes
    ----------
    features
        (N, D), one feature for each sample; None if the samples are pictures.
    why_not_cached
        The reason why the samples are pictures, which are encoded in every pass; empty if the samples are features.

    Raises
    ------
    ValueError
        There is no image, a label is not a class, or an image cannot be decoded. All images are read on construction,
        before any training. The message names the file.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import EncodedDataset
    >>> network = torch.nn.Module()
    >>> network.visual = torch.nn.Linear(8, 4)  # an encoder that trains
    >>> data = [{"image": "scan.nii.gz", "label": 1}]
    >>> dataset = EncodedDataset(data, lambda entry: {"image": torch.zeros(5, 3, 8, 8)}, network)
    >>> len(dataset), dataset[0]["image"].shape, dataset.why_not_cached
    (5, torch.Size([3, 8, 8]), 'the encoder trains')
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Any,
        network: Any,
        cache_dir: str | Path | None = None,
    ) -> None:
        if not data:
            raise ValueError("data: found no image, expected at least one to train on, and one to validate by")
        self.data = [_with_class(entry, network) for entry in data]
        self.transform = transform
        self.why_not_cached = _why_not_cached(transform, network)
        self.features: torch.Tensor | None = None
        if self.why_not_cached:
            logger.info("%s: images are encoded in every pass, no features are kept", self.why_not_cached)
            self._stored = None if cache_dir is None or is_random(transform) else StoredPictures(cache_dir, transform)
            counts = [self._count(entry) for entry in tqdm(self.data, PICTURES, leave=False)]
        else:
            encoded = _encode_all(self.data, self._pictures, network, _Keys(transform, network), cache_dir)
            counts = [len(features) for features in encoded]
            self.features = torch.cat(encoded)
        self.samples = [(item, part) for item, count in enumerate(counts) for part in range(count)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item, part = self.samples[index]
        entry = self.data[item]
        image = self._picture(entry, part) if self.features is None else self.features[index]
        label = {"label": entry["label"]} if "label" in entry else {}
        return {"image": image, "item": item, **label}

    def _count(self, entry: Mapping[str, Any]) -> int:
        if self._stored is None:
            return len(self._pictures(entry))
        return self._stored.add(str(entry["image"]), lambda: self._pictures(entry))

    def _picture(self, entry: Mapping[str, Any], part: int) -> torch.Tensor:
        if self._stored is None:
            return self._pictures(entry)[part]
        return self._stored.read(str(entry["image"]), part)

    def _pictures(self, entry: Mapping[str, Any]) -> torch.Tensor:
        try:
            pictures: torch.Tensor = self.transform(dict(entry))["image"]
        except Exception as error:
            raise ValueError(refusal(error, str(entry["image"]))) from error
        plain: torch.Tensor = convert_to_tensor(pictures, track_meta=False)
        return plain


def _why_not_cached(transform: Any, network: Any) -> str:
    if any(value.requires_grad for value in network.visual.parameters()):
        return "the encoder trains"
    return "random augmentation" if is_random(transform) else ""


def _with_class(entry: Mapping[str, Any], network: Any) -> dict[str, Any]:
    label = entry.get("label")
    names = network.class_names if isinstance(label, str) else ()
    return {**entry, "label": class_index(label, names)} if label is not None else dict(entry)


class _Keys:
    """The cache keys of images for one encoder and one preprocessing."""

    def __init__(self, transform: Any, network: Any) -> None:
        self.device = next(network.visual.parameters()).device
        self.common = f"{module_digest(network.visual)} {transform_digest(transform)} {self.device.type}"

    def of(self, image: str) -> str:
        try:
            content = image_digest(image)
        except OSError as error:
            raise ValueError(f"{image}: cannot be read: {error}") from error
        return hashlib.sha256(f"{content} {self.common}".encode()).hexdigest()


def _encode_all(
    data: Sequence[Mapping[str, Any]], pictures_of: Any, network: Any, keys: _Keys, cache_dir: str | Path | None
) -> list[torch.Tensor]:
    cache = None if cache_dir is None else TensorCache(cache_dir)
    names = [keys.of(str(entry["image"])) for entry in data]
    kept = [None if cache is None else cache.get(name) for name in names]
    found = [None if entry is None else entry["features"] for entry in kept]
    absent = [index for index, features in enumerate(found) if features is None]
    stacks = ((index, pictures_of(data[index])) for index in tqdm(absent, "encoding", leave=False, disable=not absent))
    for index, features in _encode(_read_ahead(stacks, keys.device), network, keys.device):
        found[index] = features
        if cache is not None:
            cache.put(names[index], {"features": features})
    return [features for features in found if features is not None]


def _read_ahead(stacks: Iterable[tuple[int, torch.Tensor]], device: torch.device) -> Iterable[tuple[int, torch.Tensor]]:
    """Reads images in a thread while an accelerator encodes; an encoder on the CPU needs all cores itself."""
    return stacks if device.type == "cpu" else Prefetched(stacks)


@torch.no_grad()
def _encode(
    stacks: Iterable[tuple[int, torch.Tensor]], network: Any, device: torch.device
) -> Iterator[tuple[int, torch.Tensor]]:
    """Encodes pairs (index, pictures) in passes of ENCODE_BATCH; yields the features of each image when complete."""
    waiting: list[tuple[int, int]] = []  # index and number of pictures of each incomplete image
    pictures: list[torch.Tensor] = []
    done = torch.zeros(0)
    network.eval()

    def passes(last: bool) -> Iterator[tuple[int, torch.Tensor]]:
        nonlocal pictures, done
        while len(pictures) >= ENCODE_BATCH or (last and pictures):
            batch, pictures = torch.stack(pictures[:ENCODE_BATCH]), pictures[ENCODE_BATCH:]
            padded = torch.cat([batch, batch.new_zeros(ENCODE_BATCH - len(batch), *batch.shape[1:])])
            new = network.encode(padded.to(device))[: len(batch)].float().cpu()
            done = torch.cat([done, new]) if len(done) else new
            while waiting and len(done) >= waiting[0][1]:
                index, count = waiting.pop(0)
                yield index, done[:count].clone()
                done = done[count:]

    for index, stack in stacks:
        waiting.append((index, len(stack)))
        pictures.extend(stack)
        yield from passes(last=False)
    yield from passes(last=True)
