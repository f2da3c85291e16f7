"""Reads the voxels of one volume, or of several volumes as channels, onto a regular grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedmed_transforms.dicom.geometry.grid import Grid, check_regular, duplicate_positions, select_slices
from fedmed_transforms.dicom.geometry.regrid import make_regular
from fedmed_transforms.dicom.pixels.voxels import read_voxels
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.volumes.choice import describe_positions


def read_volumes(grids: Sequence[Grid], rules: SeriesRules, device: torch.device) -> tuple[torch.Tensor, Grid, bool]:
    """Reads volumes of the same positions; refuses an irregular grid before any pixel is read.

    Parameters
    ----------
    grids
        Of the volumes; of one volume it may hold several slices at a position.
    rules
        How to load slices that form no regular grid.
    device
        Where the tensor is to be.

    Returns
    -------
    tuple
        Values (volumes, slices, rows, columns) float32, or (volumes, slices, rows, columns, 3) of colours; the regular
        grid of the first volume; and whether they were resampled onto it.

    Raises
    ------
    ValueError
        A grid is irregular and no rule mends it, or slices at one position have different pixels.
    """
    if len(grids) == 1:
        grid, values = _read_unique(grids[0], rules, device)
        values, regular = make_regular(values, grid)
        return values[None], regular, regular is not grid
    for grid in grids:
        check_regular(grid, rules)
    values = read_voxels([item for grid in grids for item in grid.slices], rules, device)
    values = values.unflatten(0, (len(grids), -1))  # (volumes * slices, ...) -> (volumes, slices, ...)
    if grids[0].upright and grids[0].even:
        return values, grids[0], False
    mended = [make_regular(part, grids[0]) for part in values]
    return torch.stack([part for part, _ in mended]), mended[0][1], True


def _read_unique(grid: Grid, rules: SeriesRules, device: torch.device) -> tuple[Grid, torch.Tensor]:
    """Reads the slices of one volume without those that the rule `duplicates` drops."""
    same = duplicate_positions(grid)
    if not same:
        check_regular(grid, rules)
        return grid, read_voxels(grid.slices, rules, device)
    values = read_voxels(grid.slices, rules, device)
    differing = [group for group in same if any(not values[group[0]].equal(values[other]) for other in group[1:])]
    if differing:
        found, count = describe_positions(grid, same), len(differing)
        raise ValueError(f"{found}, {count} of them with different pixels; the rule `series` can choose by elements")
    dropped = {index for group in same for index in group[1:]}
    kept = [index for index in range(len(grid.slices)) if index not in dropped]
    grid = select_slices(grid, kept, rules)
    check_regular(grid, rules)
    return grid, values[kept]
