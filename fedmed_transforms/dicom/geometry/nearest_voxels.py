"""Puts masks of resampled volumes on the slices that the volumes were made from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedmed_transforms.dicom.geometry.mask_grid import Array, Plane


def nearest_on_planes(mask: Array, affine: Array, planes: Sequence[Plane]) -> Array:
    """Samples a mask at the pixels of slices in any position: each pixel takes the nearest voxel, or 0 outside.

    Parameters
    ----------
    mask
        (n, X, Y, Z).
    affine
        (4, 4), from voxel indices to mm, LPS or RAS like the planes.
    planes
        The slices.

    Returns
    -------
    numpy.ndarray
        (n, slices, rows, columns) in the order of the planes.
    """
    inverse = np.linalg.inv(affine)
    return np.stack([_slice(mask, inverse, plane) for plane in planes], axis=1)


def _slice(mask: Array, inverse: Array, plane: Plane) -> Array:
    start = inverse[:3, :3] @ plane.origin + inverse[:3, 3]
    across, down = inverse[:3, :3] @ plane.to_next_column, inverse[:3, :3] @ plane.to_next_row
    columns, rows = np.arange(plane.columns)[None, :, None], np.arange(plane.rows)[:, None, None]
    voxels = np.rint(start + columns * across + rows * down).astype(int)
    inside = ((voxels >= 0) & (voxels < mask.shape[1:])).all(axis=2)
    nearest = np.clip(voxels, 0, np.array(mask.shape[1:]) - 1)
    x, y, z = np.moveaxis(nearest, 2, 0)  # (rows, columns, 3) -> (3, rows, columns)
    return mask[:, x, y, z] * inside
