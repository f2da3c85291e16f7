"""Defines the base class of the readers for MONAI: no other reader loads a path that such a reader refused."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from monai.data import ImageReader

from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.image_metadata import Loaded


class RefusingReader(ImageReader):  # type: ignore[misc]
    """Reads one path; no other reader of MONAI reads a path that this reader refused.

    After an error of ``read`` MONAI tries its other readers, which may load the path incorrectly. Therefore
    :meth:`read` returns the error, and :meth:`get_data`, whose errors MONAI does not catch, raises it.

    Parameters
    ----------
    device
        The device of the values.
    **rules
        Keywords of :class:`fedmed_transforms.SeriesRules`; rules for other formats have no effect.
    """

    suffixes: tuple[str, ...] = ()
    """Endings of the names of the files that this reader reads."""

    def __init__(self, device: str | torch.device = "cpu", **rules: Any) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.rules = SeriesRules.of(rules)

    def reads(self, path: Path) -> bool:
        """Checks whether this reader reads a path, by the ending of its name."""
        return path.name.lower().endswith(self.suffixes)

    @abstractmethod
    def load(self, path: Path) -> Loaded:
        """Loads the values, channel first, and the metadata of a path; raises a ValueError if it refuses the path."""

    def verify_suffix(self, filename: Any) -> bool:
        """Checks whether `filename` is one path that this reader reads."""
        paths = _paths(filename)
        return len(paths) == 1 and self.reads(paths[0])

    def read(self, data: Any, **kwargs: Any) -> Loaded | ValueError:
        """Returns the values and the metadata of a path, or the error with which it was refused."""
        paths = _paths(data)
        try:
            if len(paths) != 1:
                raise ValueError(f"{paths[0]}: expected one path, found {len(paths)}; a series is a folder")
            return self.load(paths[0])
        except ValueError as error:
            return error

    def get_data(self, img: Loaded | ValueError) -> Loaded:
        """Returns the values and the metadata that :meth:`read` returned, or raises its error.

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
