"""Resamples a tilted or uneven stack of slices to a regular grid by linear interpolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import pad

from fedmed_transforms.dicom.geometry.grid import Grid
from fedmed_transforms.dicom.pixels.scaling import empty_values

MOST_SLICES = 8
"""Largest ratio of the number of slices after resampling to that before it."""


def make_regular(values: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
    """Shears a tilted stack upright, then resamples an uneven one at the smallest distance between its slices.

    Parameters
    ----------
    values
        (slices, rows, columns).
    grid
        Of these slices.

    Returns
    -------
    tuple
        Values (slices, rows, columns), wider where slices were shifted so that nothing is cut off (pixels outside all
        slices take the lowest value), and their regular grid.

    Raises
    ------
    ValueError
        The volume holds colours, or the smallest distance is so small that it would grow beyond ``MOST_SLICES`` times.
    """
    if grid.upright and grid.even:
        return values, grid
    if values.ndim != 3:
        raise ValueError("expected one value a pixel to resample, found colours")
    if not grid.upright:
        values, grid = _shear(values, grid)
    return (values, grid) if grid.even else _resample(values, grid)


def _shear(values: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
    least, most = np.floor(grid.shifts.min(axis=0)), np.ceil(grid.shifts.max(axis=0))
    grown = (most - least).astype(int)
    fill = float(values.min())
    count, rows, columns = values.shape
    out = empty_values((count, rows + int(grown[1]), columns + int(grown[0])), values.device)
    for index, (along_x, along_y) in enumerate(grid.shifts - least):
        shifted = _shift(values[index], float(along_x), out.shape[2], fill)
        out[index] = _shift(shifted.T, float(along_y), out.shape[1], fill).T
    origin = grid.origin + (least * grid.spacing) @ grid.directions
    normal = np.cross(grid.directions[0], grid.directions[1])
    step = normal * grid.distances[-1] / (count - 1)
    return out, replace(grid, origin=origin, step=step, shifts=np.zeros_like(grid.shifts), upright=True)


def _shift(image: torch.Tensor, pixels: float, width: int, fill: float) -> torch.Tensor:
    """Moves (rows, columns) right by a number of pixels, at least zero, into (rows, width)."""
    whole = int(np.floor(pixels))
    part = pixels - whole
    near = pad(image, (whole, width - image.shape[1] - whole), value=fill)
    if part == 0:
        return near
    far = pad(image, (whole + 1, width - image.shape[1] - whole - 1), value=fill)
    return near + (far - near) * part


def _resample(values: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
    distances = grid.distances
    smallest, height = float(np.diff(distances).min()), float(distances[-1])
    count = max(2, round(height / smallest) + 1)
    if count > MOST_SLICES * len(distances):
        raise ValueError(
            f"expected distances between slices that differ less, found {smallest:.3f} mm at the smallest: "
            f"{len(distances)} slices would become {count}"
        )
    wanted = np.linspace(0, height, count)
    upper = np.clip(np.searchsorted(distances, wanted), 1, len(distances) - 1)
    weight = (wanted - distances[upper - 1]) / (distances[upper] - distances[upper - 1])
    out = empty_values((count, *values.shape[1:]), values.device)
    for index in range(count):
        torch.lerp(values[upper[index] - 1], values[upper[index]], float(weight[index]), out=out[index])
    step = grid.step * (len(distances) - 1) / (count - 1)
    return out, replace(grid, step=step, distances=wanted, even=True)
