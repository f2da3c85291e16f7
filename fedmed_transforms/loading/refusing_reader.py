"""A reader for MONAI whose refusals hold."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from monai.data import ImageReader

from fedmed_transforms.image_metadata import Loaded


class RefusingReader(ImageReader):  # type: ignore[misc]
    """Reads one path; what it refuses, no other reader of MONAI gets to read.

    MONAI takes an error of ``read`` for a reason to try its other readers, which take what they make of the path. So
    :meth:`read` keeps the error, and :meth:`get_data`, whose errors MONAI lets through, raises it.

    Parameters
    ----------
    device
        Where the values are to be.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        super().__init__()
        self.device = torch.device(device)

    @abstractmethod
    def reads(self, path: Path) -> bool:
        """Whether a path is for this reader."""

    @abstractmethod
    def load(self, path: Path) -> Loaded:
        """Values, channel first, and metadata of a path; a ValueError where it is refused."""

    def verify_suffix(self, filename: Any) -> bool:
        """Whether this is one path, and for this reader."""
        paths = _paths(filename)
        return len(paths) == 1 and self.reads(paths[0])

    def read(self, data: Any, **kwargs: Any) -> Loaded | ValueError:
        """Values and metadata of a path, or why it was refused."""
        paths = _paths(data)
        try:
            if len(paths) != 1:
                raise ValueError(f"{paths[0]}: expected one path, found {len(paths)}; a series is a folder")
            return self.load(paths[0])
        except ValueError as error:
            return error

    def get_data(self, img: Loaded | ValueError) -> Loaded:
        """What :meth:`read` gave.

        Raises
        ------
        ValueError
            As :func:`fedmed_transforms.load_image`.
        """
        if isinstance(img, ValueError):
            raise img
        return img


def _paths(data: Any) -> list[Path]:
    return [Path(path) for path in (data if isinstance(data, (list, tuple)) else [data])]
