"""The target of domain adaptation: released features of another site, a folder of unlabelled images, or none."""

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
"""Value of the setting ``target``: the sites align to no target."""


class ReleasedFeatures(Dataset[dict[str, Any]]):
    """Features that a site released as a file: vectors of length D, without images and labels.

    Parameters
    ----------
    path
        A safetensors file, written by :func:`release_features`.
    network
        The network whose encoder must have computed the features.

    Raises
    ------
    ValueError
        The file is damaged, or another encoder computed the features. The message names the file.
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
    """Writes features (N, D) to a file, with the digest of the encoder that computed them and their checksum."""
    made = {"encoder": module_digest(network.visual), "sha256": checksum({"features": features})}
    write_whole(path, save({"features": features.contiguous()}, metadata=made))


def target_dataset(
    target: str | None, network: Any, transform: Any, cache_dir: str | None = None
) -> Dataset[dict[str, Any]] | None:
    """Returns the dataset of the target to which a site aligns its features, or None without a target.

    Parameters
    ----------
    target
        None or ``none``; a folder of images, which is searched with its subfolders; or a file of released features.
    network, transform, cache_dir
        As for :class:`EncodedDataset`.

    Raises
    ------
    ValueError
        The target does not exist, or has no image.

    Examples
    --------
    >>> from fedmed_workflows import target_dataset
    >>> target_dataset("none", network=None, transform=None) is None
    True
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
    """Loads batches of the site's own data, each with a batch of the target under ``target``.

    The target starts from its beginning with every pass over the source, and is repeated if it is shorter.

    Parameters
    ----------
    source
        Loader of the site's training data.
    target
        Dataset of the target, or None for batches without a target.
    shuffle
        Whether to shuffle the target in every pass.

    Raises
    ------
    ValueError
        The target has fewer images than one batch.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from fedmed_workflows import PairedLoader
    >>> source = DataLoader([{"image": 1.0, "label": 0}, {"image": 2.0, "label": 1}], batch_size=2)
    >>> loader = PairedLoader(source, target=[{"image": 3.0}, {"image": 4.0}], shuffle=False)
    >>> next(iter(loader))["target"].tolist()
    [3.0, 4.0]
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
    """Splits a batch for MONAI's trainer: inputs, labels, no positional and one keyword argument of the inferer.

    Examples
    --------
    >>> import torch
    >>> from fedmed_workflows import prepare_paired_batch
    >>> batch = {"image": torch.zeros(2, 3), "label": torch.tensor([0, 1]), "target": torch.ones(2, 3)}
    >>> image, label, args, keywords = prepare_paired_batch(batch, "cpu")
    >>> args, list(keywords)
    ((), ['target'])
    """
    image, label = (batch[key].to(device, non_blocking=non_blocking, **kwargs) for key in ("image", "label"))
    target = batch.get("target")
    return image, label, (), {} if target is None else {"target": target.to(device, non_blocking=non_blocking)}
