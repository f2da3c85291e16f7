"""Distances between the surfaces of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics.utils import get_mask_edges, get_surface_distance
from scipy.ndimage import distance_transform_edt

SURFACE_TOLERANCE = 1.0
"""Distance up to which a part of a surface counts as found: 1 mm in a volume, 1 pixel in a picture."""

HAUSDORFF_PERCENTILE = 95

DENSE = 0.02
"""Share of surface among voxels from which on the distances of all voxels take less time than a search by point."""


def surface_metrics(prediction: torch.Tensor, label: torch.Tensor, spacing: Sequence[float]) -> dict[str, np.ndarray]:
    """Hausdorff distance and surface Dice of masks, as MONAI computes them.

    Parameters
    ----------
    prediction, label
        (n, C, X, Y) or (n, C, X, Y, Z) boolean. The surface is the voxels that touch the background along an axis; what
        lies outside the image is background, so in a volume of one slice every voxel is surface.
    spacing
        Of each axis.

    Returns
    -------
    dict
        (n, C) each. ``hd95``: the 95th percentile of the distances from one surface to the other, the larger of both
        ways, in the unit of `spacing`; infinite where one mask is empty (of which MONAI's quantile makes NaN), NaN
        where both are. ``surface_dice``: the share of both surfaces that lies within :data:`SURFACE_TOLERANCE` of the
        other; 0 where one mask is empty, NaN where both are.

    Notes
    -----
    Equal to ``monai.metrics.compute_hausdorff_distance(percentile=95)`` and ``compute_surface_dice``, and made of the
    same functions; those two find surfaces and distances twice, on the whole image. Surface Dice: Nikolov et al.,
    "Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy", J Med Internet Res 2021.
    """
    pairs = zip(prediction.flatten(0, 1).cpu().numpy(), label.flatten(0, 1).cpu().numpy(), strict=True)
    values = np.array([_of_masks(*pair, np.asarray(spacing, dtype=float)) for pair in pairs])
    hd95, surface_dice = values.reshape(*prediction.shape[:2], 2).transpose(2, 0, 1)
    return {"hd95": hd95, "surface_dice": surface_dice}


def _of_masks(prediction: np.ndarray, label: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
    empty = not prediction.any(), not label.any()
    if any(empty):
        return (np.nan, np.nan) if all(empty) else (np.inf, 0.0)
    box = _bounding_box(prediction | label)
    surfaces = get_mask_edges(prediction[box], label[box], crop=False)
    ways = [surface_distances(one, other, spacing) for one, other in (surfaces, surfaces[::-1])]
    within = sum(int((way <= SURFACE_TOLERANCE).sum()) for way in ways)
    hd95 = max(float(np.quantile(way, HAUSDORFF_PERCENTILE / 100)) for way in ways)
    return hd95, within / sum(map(len, ways))


def surface_distances(start: np.ndarray, end: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance of every voxel of one surface, in the order of the array, to the nearest of another.

    Parameters
    ----------
    start, end
        Boolean, of the same shape, neither empty.
    spacing
        Of each axis.

    Returns
    -------
    numpy.ndarray
        (voxels of `start`,) in the unit of `spacing`.
    """
    if max(np.count_nonzero(start), np.count_nonzero(end)) < DENSE * start.size:
        return np.asarray(get_surface_distance(start, end, spacing=spacing))
    # An untrained network may find a surface in every corner; its points would be searched for minutes.
    nearest = distance_transform_edt(~end, sampling=spacing, return_distances=False, return_indices=True)
    points = np.stack(np.nonzero(start))
    offset = (nearest[:, start] - points) * spacing[:, None]
    return np.sqrt((offset**2).sum(axis=0)).astype(np.float32)  # as MONAI rounds, before it compares


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds a mask: around it, as outside the image, there is background only."""
    axes = range(mask.ndim)
    projections = (mask.any(axis=tuple(other for other in axes if other != axis)) for axis in axes)
    ends = (np.flatnonzero(projection)[[0, -1]] for projection in projections)
    return tuple(slice(int(first), int(last) + 1) for first, last in ends)
