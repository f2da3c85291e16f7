"""Cuts the slices out of the pictures that hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from fedmed_transforms.dicom.pixels.scaling import empty_values
from fedmed_transforms.dicom.slices import Slice


def read_tiles(slices: Sequence[Slice], read: Callable[[list[Slice]], torch.Tensor]) -> torch.Tensor:
    """Reads each picture once and copies the tiles of the slices out of it.

    Parameters
    ----------
    slices
        In the order wanted, with tiles of one size.
    read
        Reads whole frames, (frames, rows, columns) or (frames, rows, columns, 3).

    Returns
    -------
    torch.Tensor
        (slices, rows, columns) of the tiles, or (slices, rows, columns, 3).
    """
    keys = [(id(item.file), item.frame) for item in slices]
    pictures = {key: replace(item, tile=None) for key, item in zip(keys, slices, strict=True)}
    values = dict(zip(pictures, read(list(pictures.values())), strict=True))
    tiles = [item.tile for item in slices if item.tile is not None]
    first = values[keys[0]]
    out = empty_values((len(slices), tiles[0].rows, tiles[0].columns, *first.shape[2:]), first.device)
    for index, (key, tile) in enumerate(zip(keys, tiles, strict=True)):
        out[index] = values[key][tile.top : tile.top + tile.rows, tile.left : tile.left + tile.columns]
    return out
