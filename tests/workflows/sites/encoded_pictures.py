"""Pictures and a volume that an encoder turns into features, and a count of those that pass it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.transforms import Compose
from PIL import Image

from fedmed_networks import FACMIC
from fedmed_transforms import ClipPreprocessd, LoadMedicalImaged, ScaleToUnitd, ToPicturesd
from fedmed_workflows.sites.datasets.encoded import EncodedDataset

Data = list[dict[str, Any]]


def preprocessing(*more: Any, upper: float = 0.99, mean: tuple[float, ...] = (0.5, 0.5, 0.5)) -> Compose:
    steps = [LoadMedicalImaged("image"), ToPicturesd("image"), ScaleToUnitd("image", upper=upper)]
    return Compose([*steps, ClipPreprocessd("image", image_size=16, mean=mean), *more])


def write_pictures(folder: Path, count: int) -> Data:
    folder.mkdir()
    random = np.random.default_rng(count)
    data = [{"image": str(folder / f"{index}.png"), "label": index % 2} for index in range(count)]
    for entry in data:
        Image.fromarray(random.integers(0, 256, (20, 18, 3), dtype=np.uint8)).save(entry["image"])
    return data


def write_volume(path: Path, slices: int) -> str:
    values = np.random.default_rng(0).normal(size=(12, 10, slices)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), path)
    return str(path)


def features(dataset: EncodedDataset) -> torch.Tensor:
    assert dataset.features is not None
    return dataset.features


class Encoded:
    """Counts the pictures that pass an encoder, without those that fill up its last pass."""

    def __init__(self, network: FACMIC) -> None:
        self.pictures, self.sizes = 0, set[int]()
        self.hook = network.visual.register_forward_hook(self._count)

    def _count(self, module: Any, inputs: tuple[torch.Tensor], output: Any) -> None:
        self.pictures += int(inputs[0].flatten(1).any(dim=1).sum())
        self.sizes.add(len(inputs[0]))

    def since(self) -> int:
        """Pictures since the last time of asking."""
        pictures, self.pictures = self.pictures, 0
        return pictures
