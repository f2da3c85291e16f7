"""Gives the geometry of source images to a segmentation: the pixel grid of each frame, and headers for highdicom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from fedmed_transforms.dicom.dicom_file import frame_count
from fedmed_transforms.dicom.geometry.frame_stack import shared_plane
from fedmed_transforms.dicom.geometry.mask_grid import Plane
from fedmed_transforms.dicom.geometry.orthonormal import orthonormal
from fedmed_transforms.dicom.planes import FramePlane


def pixel_grids(planes: Sequence[FramePlane], header: Dataset) -> list[Plane]:
    """Builds the pixel grid of each frame: its own position, and the orientation and spacing that all frames share.

    Parameters
    ----------
    planes
        Of the frames, with position, directions and spacing.
    header
        Of an image, for the size of its frames.

    Raises
    ------
    ValueError
        The frames differ in orientation or spacing.
    """
    shared = shared_plane(planes)
    across, down = np.asarray(shared.directions) * np.asarray(shared.spacing)[:, None]
    rows, columns = int(header.Rows), int(header.Columns)
    return [Plane(np.asarray(plane.position), across, down, rows, columns) for plane in planes]


def with_written_geometry(headers: Sequence[Dataset], planes: Sequence[FramePlane]) -> list[Dataset]:
    """Copies headers and writes the frames' geometry into them, as highdicom takes it over.

    All frames get the orientation and the spacing of :func:`fedmed_transforms.dicom.geometry.frame_stack.shared_plane`.
    Its cosines are turned to a right angle, because highdicom reads no volume whose cosines' scalar product is above
    0.0001: a pixel moves by at most 0.125 mm at 250 mm from the first one, which stays, see
    :data:`fedmed_transforms.dicom.geometry.orthonormal.MOST_TURN`. Cosines that are perpendicular stay as they are.

    The distance between slices comes from their positions, whatever the headers state. Where they state no thickness, it
    is that distance, or of a single slice the distance between its rows: highdicom reads no segmentation without a
    thickness.

    Parameters
    ----------
    headers
        Of the source images; they are not changed.
    planes
        Of their frames, with position, directions and spacing.

    Raises
    ------
    ValueError
        The frames differ in orientation or spacing.
    """
    shared = shared_plane(planes)
    distance = _distance(planes, shared)
    thickness = planes[0].thickness or distance or float(np.asarray(shared.spacing)[1])
    measures = {"PixelSpacing": np.asarray(shared.spacing)[::-1], "SliceThickness": thickness}
    measures |= {} if distance is None else {"SpacingBetweenSlices": distance}
    cosines = {"ImageOrientationPatient": orthonormal(np.asarray(shared.directions)).ravel()}  # (2, 3) -> (6,)
    left = iter(planes)
    return [_written(header, [next(left) for _ in range(frame_count(header))], measures, cosines) for header in headers]


def _distance(planes: Sequence[FramePlane], shared: FramePlane) -> float | None:
    """Mean distance in mm between neighbouring slices; None of a single one."""
    heights = np.array([plane.position for plane in planes]) @ shared.normal
    return float(np.ptp(heights)) / (len(planes) - 1) if len(planes) > 1 else None


def _written(
    header: Dataset, planes: Sequence[FramePlane], measures: dict[str, Any], cosines: dict[str, Any]
) -> Dataset:
    """A copy with the geometry in the header, where single-frame images have it, and in functional groups."""
    copy = header[:]
    copy.pop("SpacingBetweenSlices", None)
    positions = [{"ImagePositionPatient": plane.position} for plane in planes]
    _write(copy, **measures, **cosines, **positions[0])
    groups = header.get("SharedFunctionalGroupsSequence")
    shared = groups[0][:] if groups else Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [_item(measures)], [_item(cosines)]
    copy.SharedFunctionalGroupsSequence = [shared]
    copy.PerFrameFunctionalGroupsSequence = [Dataset() for _ in planes]
    for frame, position in zip(copy.PerFrameFunctionalGroupsSequence, positions, strict=True):
        frame.PlanePositionSequence = [_item(position)]
    return copy


def _item(elements: dict[str, Any]) -> Dataset:
    item = Dataset()
    _write(item, **elements)
    return item


def _write(holder: Dataset, **elements: Any) -> None:
    for keyword, value in elements.items():
        setattr(holder, keyword, _decimals(value) if isinstance(value, Iterable) else _decimals([value])[0])


def _decimals(values: Iterable[float]) -> list[DSfloat]:
    return [DSfloat(float(value), auto_format=True) for value in values]
