"""Label maps of named regions, which may overlap: segments of a DICOM SEG, structures of an RTSTRUCT."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor

from fedmed_transforms.image_metadata import REGIONS, file_of

COVERED = "covered"
"""Entry of a label map's metadata: voxels of regions that a later region covers, as bytes, so that label maps form
batches. They are (4, m) int64: indices along x, y and z, and label values."""

GRID = "covered_grid"
"""Entry of a label map's metadata with the shape and the affine that the covered voxels belong to, as JSON."""

Part: TypeAlias = tuple[int, int, npt.NDArray[np.bool_]]
"""A slice of a region: the axis that it lies across, its index on this axis, and its voxels. Their rows run along the
later of the other axes, their columns along the earlier: (Y, X) across z."""


@dataclass(frozen=True)
class Region:
    """A named region of a label file.

    Attributes
    ----------
    number
        The label value of the region, above 0.
    name
        The name of the region.
    refusal
        The reason why the region cannot be a label; empty if it is one.
    by_name
        Whether only the name identifies the region, as numbers differ from file to file.
    empty
        Whether the region marks a place and has no volume.
    """

    number: int
    name: str
    refusal: str = ""
    by_name: bool = False
    empty: bool = False


def label_map(
    shape: Sequence[int], regions: Sequence[Region], parts: Sequence[Iterable[Part]]
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Builds the label map of regions; a later region covers an earlier one, and the covered voxels are kept beside it.

    Parameters
    ----------
    shape
        (X, Y, Z).
    regions, parts
        The regions, and the slices of each.

    Returns
    -------
    tuple
        The label map, float32 of the shape; and the entries of its metadata.
    """
    values: npt.NDArray[np.float32] = np.zeros(tuple(shape)[::-1], dtype=np.float32)
    covered: list[npt.NDArray[np.int64]] = [np.zeros((4, 0), dtype=np.int64)]
    for region, slices in zip(regions, parts, strict=True):
        for axis, place, inside in slices:
            part = np.moveaxis(values, 2 - axis, 0)[place]
            under = inside & (part > 0)
            if under.any():
                later, earlier = np.nonzero(under)
                indices = [earlier, later]
                indices.insert(axis, np.full_like(later, place))
                covered.append(np.stack([*indices, part[under].astype(np.int64)]))
            part[inside] = region.number
    meta = {
        REGIONS: json.dumps([asdict(region) for region in regions]),
        COVERED: np.concatenate(covered, axis=1).tobytes(),
    }
    return torch.from_numpy(values.T), meta


def regions_of(meta: Mapping[str, Any]) -> list[Region] | None:
    """Returns the regions of a label map by its metadata; None for a label map without named regions."""
    return [Region(**region) for region in json.loads(meta[REGIONS])] if REGIONS in meta else None


def grid_of(label: torch.Tensor) -> str:
    """Describes the shape and the affine of a label map for :data:`GRID`."""
    affine = label.affine.tolist() if isinstance(label, MetaTensor) else None
    return json.dumps([list(label.shape[1:]), affine])


def covered_voxels(label: torch.Tensor) -> torch.Tensor:
    """Returns the covered voxels (4, m) of a label map: indices along x, y and z, and label values.

    Raises
    ------
    ValueError
        The label map was cropped, turned or resampled since; the message names the file.
    """
    meta = label.meta if isinstance(label, MetaTensor) else {}
    covered = torch.from_numpy(np.frombuffer(meta.get(COVERED, b""), dtype=np.int64).reshape(4, -1).copy())
    if covered.shape[1] and meta.get(GRID) != grid_of(label):
        found = "found overlapping segments on another grid than SegmentationToLabelsd put them on"
        raise ValueError(f"{file_of(label)}: {found}, expected LabelsToChannelsd directly after it")
    return covered
