"""Whose unlabelled features adaptation aligns to: another site's released features, a folder of images, or nobody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.utils.data import DataLoader, Dataset

from fedmed_networks.weights import module_digest
from fedmed_transforms.loading.find import find_images
from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.sites.datasets.encoded import EncodedDataset
from fedmed_workflows.sites.datasets.tensor_cache import checksum

NOBODY = "none"


class ReleasedFeatures(Dataset[dict[str, Any]]):
    """Features that a site released as a file: numbers of length D, no image and no label.

    Parameters
    ----------
    path
        A safetensors file as :func:`release_features` writes it.
    network
        The network whose encoder the features must come from.

    Raises
    ------
    ValueError
        The file is damaged, or another encoder made it; the message names it.
    """

    def __init__(self, path: str | Path, network: Any) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                self.features: torch.Tensor = file.get_tensor("features")
                made = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: expected a file of released features, found: {error}") from error
        encoder = module_digest(network.visual)
        if made.get("encoder") != encoder:
            raise ValueError(
                f"{path}: its features come from encoder {made.get('encoder')}, this network's encoder is {encoder}"
            )
        if made.get("sha256") != checksum({"features": self.features}):
            raise ValueError(f"{path}: expected a file of released features, found damage: its checksum does not match")

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.features[index]}


def release_features(features: torch.Tensor, network: Any, path: Path) -> None:
    """Writes features (N, D) with the digest of the encoder that made them, and their checksum."""
    made = {"encoder": module_digest(network.visual), "sha256": checksum({"features": features})}
    write_whole(path, save({"features": features.contiguous()}, metadata=made))


def target_dataset(
    target: str | None, network: Any, transform: Any, cache_dir: str | None = None
) -> Dataset[dict[str, Any]] | None:
    """The images or features that a site adapts to.

    Parameters
    ----------
    target
        None or ``none``; a folder of images (searched with its subfolders); or a file of released features.
    network, transform, cache_dir
        As in :class:`EncodedDataset`.

    Raises
    ------
    ValueError
        The target does not exist, or holds no image.
    """
    if target is None or target == NOBODY:
        return None
    path = Path(target)
    if path.is_file():
        return ReleasedFeatures(path, network)
    if not path.is_dir():
        raise ValueError(f"target {target!r}: expected a folder of images, a file of released features, or 'none'")
    return EncodedDataset(find_images(target), transform, network, cache_dir)


class PairedLoader:
    """Batches of the site's own data, each with a batch of the target under ``target``.

    The target starts anew with every pass over the source and is repeated where it is shorter.

    Parameters
    ----------
    source
        Loader of the site's training data.
    target
        Dataset of the target, or None for batches without target.
    shuffle
        Whether the target is shuffled in every pass.

    Raises
    ------
    ValueError
        The target holds less than one batch.
    """

    def __init__(
        self, source: DataLoader[Any], target: Dataset[dict[str, Any]] | None = None, shuffle: bool = True
    ) -> None:
        self.source = source
        self.target: DataLoader[Any] | None = None
        if target is not None:
            self.target = DataLoader(target, batch_size=source.batch_size, shuffle=shuffle, drop_last=True)
            if not len(self.target):
                found = len(target)  # type: ignore[arg-type]
                raise ValueError(f"target: found {found} images, expected at least one batch of {source.batch_size}")

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        targets = _repeated(self.target) if self.target is not None else None
        for batch in self.source:
            yield {**batch, "target": next(targets)["image"]} if targets is not None else dict(batch)


def _repeated(loader: DataLoader[Any]) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


def prepare_paired_batch(
    batch: Mapping[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor, tuple[()], dict[str, torch.Tensor]]:
    """What MONAI's trainer asks of a batch: the inputs, the labels, and the target as a keyword of the inferer."""
    image, label = (batch[key].to(device, non_blocking=non_blocking, **kwargs) for key in ("image", "label"))
    target = batch.get("target")
    return image, label, (), {} if target is None else {"target": target.to(device, non_blocking=non_blocking)}
