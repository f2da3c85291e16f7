"""Preprocess once: the pictures of images on disk, for networks whose encoder trains and sees them in every pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from fedmed_networks.weights import content_digest
from fedmed_workflows.sites.datasets.fingerprint import transform_digest
from fedmed_workflows.sites.datasets.tensor_cache import TensorCache

PICTURES = "pictures"


class StoredPictures:
    """Pictures of images, found again by the image's content and the preprocessing; a sample reads its picture alone.

    Parameters
    ----------
    folder
        Several datasets and processes may share it.
    transform
        The preprocessing, nothing random in it.
    """

    def __init__(self, folder: str | Path, transform: Any) -> None:
        self.cache, self.common = TensorCache(folder), transform_digest(transform)
        self._files: dict[str, Path] = {}

    def add(self, image: str, make: Callable[[], torch.Tensor]) -> int:
        """Takes up an image, and has its pictures (N, 3, S, S) made if they are not there; their number.

        Raises
        ------
        ValueError
            The image cannot be read.
        """
        try:
            content = content_digest(image)
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
        """A picture (3, S, S) of an image that was taken up."""
        with safe_open(self._files[image], framework="pt") as file:
            picture: torch.Tensor = file.get_slice(PICTURES)[part : part + 1][0]
            return picture
