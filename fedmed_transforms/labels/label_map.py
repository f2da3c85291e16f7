"""Label maps of named regions, which may overlap: segments of a DICOM SEG, structures of an RTSTRUCT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from fedmed_transforms.image_metadata import REGIONS

COVERED = "covered"
"""Entry of a label map's metadata: voxels of regions that a later region covers, as bytes, so that label maps form
batches. They are (2, m) int64: indices into the flattened map, and label values."""

Voxels: TypeAlias = npt.NDArray[np.int64]


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


def label_map(shape: Sequence[int], regions: Sequence[Region], voxels: Sequence[Voxels]) -> tuple[Any, dict[str, Any]]:
    """Builds the label map of regions; a later region covers an earlier one, and the covered voxels are kept beside it.

    Parameters
    ----------
    shape
        (X, Y, Z) or (X, Y).
    regions, voxels
        The regions, and of each the indices of its voxels in the flattened map.

    Returns
    -------
    tuple
        The label map, float32 of the shape; and the entries of its metadata.
    """
    values: npt.NDArray[np.float32] = np.zeros(prod(shape), dtype=np.float32)
    covered = []
    for region, inside in zip(regions, voxels, strict=True):
        before = values[inside]
        under = np.flatnonzero(before)
        covered.append(np.stack([inside[under], before[under].astype(np.int64)]))
        values[inside] = region.number
    both = np.concatenate(covered, axis=1) if covered else np.zeros((2, 0), dtype=np.int64)
    meta = {REGIONS: json.dumps([asdict(region) for region in regions]), COVERED: both.tobytes()}
    return torch.from_numpy(values.reshape(tuple(shape))), meta


def regions_of(meta: Mapping[str, Any]) -> list[Region] | None:
    """Returns the regions of a label map by its metadata; None for a label map without named regions."""
    return [Region(**region) for region in json.loads(meta[REGIONS])] if REGIONS in meta else None


def covered_voxels(meta: Mapping[str, Any]) -> torch.Tensor:
    """Returns the covered voxels (2, m) of a label map by its metadata: indices and label values."""
    return torch.from_numpy(np.frombuffer(meta.get(COVERED, b""), dtype=np.int64).reshape(2, -1).copy())
