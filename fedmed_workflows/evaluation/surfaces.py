"""Metrics from the distances between the surfaces of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics.utils import get_mask_edges, get_surface_distance
from scipy.ndimage import distance_transform_edt

SURFACE_TOLERANCE = 1.0
"""Maximum distance at which a part of a surface counts as found: 1 mm in a volume, 1 pixel in a picture."""

HAUSDORFF_PERCENTILE = 95

DENSE = 0.02
"""Share of surface voxels above which a distance map of all voxels is faster than a search point by point."""


def surface_metrics(prediction: torch.Tensor, label: torch.Tensor, spacing: Sequence[float]) -> dict[str, np.ndarray]:
    """Computes Hausdorff distance and surface Dice of masks with MONAI's functions.

    Parameters
    ----------
    prediction, label
        (n, C, X, Y) or (n, C, X, Y, Z) boolean. The surface consists of the voxels that touch the background along an
        axis. The outside of the image is background, so that all voxels of a volume of one slice are surface.
    spacing
        Spacing of each axis.

    Returns
    -------
    dict
        (n, C) each. ``hd95``: the 95th percentile of the distances from one surface to the other, the larger value of
        both directions, in the unit of `spacing`; infinite if one mask is empty (MONAI's quantile returns NaN), NaN if
        both are empty. ``surface_dice``: the share of both surfaces within :data:`SURFACE_TOLERANCE` of the other
        surface; 0 if one mask is empty, NaN if both are empty.

    Notes
    -----
    Equal to ``monai.metrics.compute_hausdorff_distance(percentile=95)`` and ``compute_surface_dice``, with the same
    functions. Those two compute surfaces and distances twice, on the whole image. Surface Dice: Nikolov et al.,
    "Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy", J Med Internet Res 2021.
    """
    pairs = zip(prediction.flatten(0, 1).cpu().numpy(), label.flatten(0, 1).cpu().numpy(), strict=True)
    values = np.array([_metrics_of_masks(*pair, np.asarray(spacing, dtype=float)) for pair in pairs])  # (n * C, 2)
    hd95, surface_dice = values.reshape(*prediction.shape[:2], 2).transpose(2, 0, 1)  # (n, C) each
    return {"hd95": hd95, "surface_dice": surface_dice}


def _metrics_of_masks(prediction: np.ndarray, label: np.ndarray, spacing: np.ndarray) -> tuple[float, float]:
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
    """Computes the distance of every voxel of one surface, in the order of the array, to the nearest of another.

    Parameters
    ----------
    start, end
        Surfaces as boolean arrays of the same shape, not empty.
    spacing
        Spacing of each axis.

    Returns
    -------
    numpy.ndarray
        (voxels of `start`,) distances in the unit of `spacing`.
    """
    if max(np.count_nonzero(start), np.count_nonzero(end)) < DENSE * start.size:
        return np.asarray(get_surface_distance(start, end, spacing=spacing))
    # The surface of an untrained network may have so many points that the search would take minutes.
    nearest = distance_transform_edt(~end, sampling=spacing, return_distances=False, return_indices=True)
    points = np.stack(np.nonzero(start))  # (axes, voxels of start)
    offset = (nearest[:, start] - points) * spacing[:, None]  # (axes, voxels of start)
    return np.sqrt((offset**2).sum(axis=0)).astype(np.float32)  # as MONAI rounds, before it compares


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Returns the smallest box around a mask. Outside the box there is only background."""
    axes = range(mask.ndim)
    projections = (mask.any(axis=tuple(other for other in axes if other != axis)) for axis in axes)
    ends = (np.flatnonzero(projection)[[0, -1]] for projection in projections)
    return tuple(slice(int(first), int(last) + 1) for first, last in ends)
