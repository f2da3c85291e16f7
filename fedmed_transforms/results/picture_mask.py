"""Writes masks of pictures to PNG files, one a channel."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from PIL import Image

from fedmed_transforms.loading.picture_files import PICTURE_SUFFIXES, picture_size
from fedmed_transforms.results.segmentation_object import binary_values
from fedmed_transforms.whole_file import whole_file

WHITE = 255
"""The value of a structure; everything else is 0."""


def is_picture(path: Path) -> bool:
    """Checks whether a path is the file of a picture, by its suffix."""
    return path.is_file() and path.name.lower().endswith(PICTURE_SUFFIXES)


def mask_files(folder: Path, name: str, labels: Sequence[str]) -> list[Path]:
    """Names the files of a picture's masks: ``<name>.png`` for one channel, ``<name>_<label>.png`` each for several.

    Characters of a label other than letters, digits, underscore, point, plus and minus become underscores.

    Raises
    ------
    ValueError
        Two labels give one name; the message shows all of them.
    """
    if len(labels) == 1:
        return [folder / f"{name}.png"]
    parts = [re.sub(r"[^\w.+-]", "_", label) for label in labels]
    if len(set(parts)) < len(parts):
        raise ValueError(f"segments: expected labels that give file names that differ, found {list(labels)}")
    return [folder / f"{name}_{part}.png" for part in parts]


def write_picture_masks(mask: torch.Tensor, source: str | Path, outputs: Sequence[Path]) -> None:
    """Writes a binary mask as PNG files of 0 and 255, all of them or none.

    Parameters
    ----------
    mask
        (n, X, Y) or (n, X, Y, 1), 0 and 1; x runs along the columns of the picture as it looks, upright, whatever turn
        its EXIF entry makes of its stored rows.
    source
        The picture that the mask was made from.
    outputs
        The file of each channel, as many as the mask must have.

    Raises
    ------
    ValueError
        The mask is not binary, or has another size or number of channels; the message names the source.
    OSError
        A file can't be written.
    """
    values = binary_values(mask, len(outputs), str(source))
    columns, rows = picture_size(Path(source))
    if values.shape[1:] != (columns, rows, 1):
        raise ValueError(
            f"{source}: expected a mask of {columns} x {rows} pixels as the picture has, found {values.shape[1:]}"
        )
    for output in outputs:
        if output.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
    with ExitStack() as unfinished:
        for channel, output in zip(values[..., 0], outputs, strict=True):
            temporary = unfinished.enter_context(whole_file(output))
            Image.fromarray(WHITE * channel.T).save(temporary)
