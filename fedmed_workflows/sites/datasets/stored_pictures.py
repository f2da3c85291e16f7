"""Keeps preprocessed pictures on disk, for networks whose encoder trains and reads the pictures in every pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from fedmed_workflows.sites.datasets.fingerprint import image_digest, transform_digest
from fedmed_workflows.sites.datasets.tensor_cache import TensorCache

PICTURES = "pictures"


class StoredPictures:
    """The pictures of images on disk. The cache key consists of the image's content and the preprocessing.

    Parameters
    ----------
    folder
        Folder of the pictures. Several datasets and processes can share it.
    transform
        The preprocessing, which must not be random.
    """

    def __init__(self, folder: str | Path, transform: Any) -> None:
        self.cache, self.common = TensorCache(folder), transform_digest(transform)
        self._files: dict[str, Path] = {}

    def add(self, image: str, make: Callable[[], torch.Tensor]) -> int:
        """Registers an image and computes its pictures (N, 3, S, S) if they are missing; returns their number.

        Raises
        ------
        ValueError
            The image cannot be read.
        """
        try:
            content = image_digest(image)
        except OSError as error:
            raise ValueError(f"{image}: cannot be read: {error}") from error
        key = hashlib.sha256(f"{PICTURES} {content} {self.common}".encode()).hexdigest()
        found = self.cache.get(key)
        if found is None:
            found = {PICTURES: make()}
            self.cache.put(key, found)
        self._files[image] = self.cache.file(key)
        return len(found[PICTURES])

    def read(self, image: str, part: int) -> torch.Tensor:
        """Reads one picture (3, S, S) of a registered image."""
        with safe_open(self._files[image], framework="pt") as file:
            picture: torch.Tensor = file.get_slice(PICTURES)[part : part + 1][0]
            return picture
