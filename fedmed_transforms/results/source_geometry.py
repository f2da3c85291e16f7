"""Headers of source images in the form in which highdicom takes their geometry over into a segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from fedmed_transforms.dicom.geometry.mask_grid import Plane
from fedmed_transforms.dicom.planes import frame_element, frames_of

SHARED = {"PlaneOrientationSequence": "ImageOrientationPatient", "PixelMeasuresSequence": "PixelSpacing"}
"""Functional groups, and of each the element, that highdicom expects to be the same in all frames."""


def with_shared_geometry(headers: Sequence[Dataset], planes: Sequence[Plane]) -> list[Dataset]:
    """Headers with thickness and distance of slices, and with what a multi-frame image's frames share in one place.

    The distance comes from the slices' positions, whatever the headers say. Where they state no thickness, it is that
    distance, or of a single slice the distance between its rows: highdicom reads no segmentation without a thickness.

    Parameters
    ----------
    headers
        Of the source images; they are left as they are.
    planes
        Where their frames lie.

    Raises
    ------
    ValueError
        The frames differ in orientation or spacing.
    """
    distance = _distance(planes)
    stated = frame_element(frames_of(headers[0])[0], "PixelMeasuresSequence", "SliceThickness")
    thickness = float(stated or distance or np.linalg.norm(planes[0].to_next_row))
    return [_shared(header, thickness, distance) for header in headers]


def _distance(planes: Sequence[Plane]) -> float | None:
    """Mean distance in mm between neighbouring slices; None of a single one."""
    normal = np.cross(planes[0].to_next_column, planes[0].to_next_row)
    places = [float(plane.origin @ normal / np.linalg.norm(normal)) for plane in planes]
    return (max(places) - min(places)) / (len(places) - 1) if len(places) > 1 else None


def _shared(header: Dataset, thickness: float, distance: float | None) -> Dataset:
    own = header[:]
    if "PerFrameFunctionalGroupsSequence" not in header:
        _measure(own, thickness, distance)
        return own
    groups = header.get("SharedFunctionalGroupsSequence")
    shared = groups[0][:] if groups else Dataset()
    for sequence, keyword in SHARED.items():
        values = [frame_element(frame, sequence, keyword) for frame in frames_of(header)]
        if any(value != values[0] for value in values):
            raise ValueError(f"expected frames of one {keyword}, found several")
        item = Dataset()
        setattr(item, keyword, values[0])
        setattr(shared, sequence, [item])
    _measure(shared.PixelMeasuresSequence[0], thickness, distance)
    own.SharedFunctionalGroupsSequence = [shared]
    return own


def _measure(holder: Dataset, thickness: float, distance: float | None) -> None:
    holder.SliceThickness = DSfloat(thickness, auto_format=True)
    if distance is None:
        holder.pop("SpacingBetweenSlices", None)
    else:
        holder.SpacingBetweenSlices = DSfloat(distance, auto_format=True)
