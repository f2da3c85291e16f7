"""Gives a segmentation the geometry of its source images: the pixel grid of each frame, and headers for highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pydicom.valuerep import DSfloat

from fedmed_transforms.dicom.dicom_file import frame_count
from fedmed_transforms.dicom.geometry.frame_stack import shared_plane
from fedmed_transforms.dicom.geometry.grid import UPRIGHT, is_even, is_upright
from fedmed_transforms.dicom.geometry.mask_grid import Plane
from fedmed_transforms.dicom.geometry.orthonormal import orthonormal
from fedmed_transforms.dicom.geometry.rounding import fit_within_rounding
from fedmed_transforms.dicom.planes import FramePlane
from fedmed_transforms.results.sources import FRAME_OF_REFERENCE

NEAR = 0.05
"""Distance of a slice from its place on the grid, relative to the pixel spacing, up to which its position is written
as it is stated; masks are put on slices within twice of it."""


def without_rounding(planes: Sequence[FramePlane]) -> list[FramePlane]:
    """Replaces rounded positions of evenly spaced slices by those of their fitted grid, as the loader places them.

    Readers of segmentations refuse slices at uneven distances.

    Parameters
    ----------
    planes
        Of the frames, with position, directions and spacing.

    Raises
    ------
    ValueError
        The frames differ in orientation or spacing.
    """
    shared = shared_plane(planes)
    directions, spacing = np.asarray(shared.directions), np.asarray(shared.spacing)
    positions = np.array([plane.position for plane in planes])
    order = np.argsort(positions @ shared.normal, kind="stable")
    offsets = positions[order] - positions[order[0]]
    distances = offsets @ shared.normal
    if is_even(distances) and is_upright(offsets @ directions.T / spacing, distances, spacing):
        on_grid = positions[order[0]] + np.linspace(0, 1, len(planes))[:, None] * offsets[-1]
        near = np.linalg.norm(positions[order] - on_grid, axis=1).max() <= NEAR * spacing.min()
        fitted = None if near else on_grid
    else:
        fitted = fit_within_rounding(positions[order], directions, UPRIGHT * spacing)
    if fitted is None:
        return list(planes)
    return [replace(plane, position=fitted[place]) for plane, place in zip(planes, np.argsort(order), strict=True)]


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

    The distance between slices comes from their positions, whatever the headers state. Where they state no thickness,
    it is that distance, or of a single slice the distance between its rows: highdicom reads no segmentation without a
    thickness.

    A series without a frame of reference gets one that is made from its UID: the positions of a series are those of one
    frame of reference, and a segmentation must state it.

    Parameters
    ----------
    headers
        Of the source images, as :func:`fedmed_transforms.results.sources.read_sources` completes them; they are not
        changed.
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
    spacing = {"PixelSpacing": np.asarray(shared.spacing)[::-1], "SliceThickness": thickness}
    measures = _item(**spacing, **({} if distance is None else {"SpacingBetweenSlices": distance}))
    cosines = _item(ImageOrientationPatient=orthonormal(np.asarray(shared.directions)).ravel())  # (2, 3) -> (6,)
    made = generate_uid(entropy_srcs=["fedmed frame of reference", str(headers[0].SeriesInstanceUID)])
    left = iter(planes)
    parts = [(header, [next(left) for _ in range(frame_count(header))]) for header in headers]
    written = [_written(header, [plane.position for plane in own], measures, cosines) for header, own in parts]
    for copy in written:
        copy.FrameOfReferenceUID = copy.get(FRAME_OF_REFERENCE) or made
    return written


def without_geometry(headers: Sequence[Dataset]) -> list[Dataset]:
    """Copies the headers of a picture without a position, without the geometry that highdicom would look for in it.

    Highdicom takes the measures of pixels from the shared functional groups, which an ultrasound cine has not; the
    result leaves them out, as they mean nothing without a frame of reference.
    """
    copies = [header[:] for header in headers]
    for header in copies:
        header.pop(FRAME_OF_REFERENCE, None)
        header.SharedFunctionalGroupsSequence = _item_of_measures()
    return copies


def _item_of_measures() -> list[Dataset]:
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=np.ones(2), SliceThickness=1.0)]
    return [shared]


def _distance(planes: Sequence[FramePlane], shared: FramePlane) -> float | None:
    """Measures the mean distance in mm between neighbouring slices; None of a single one."""
    heights = np.array([plane.position for plane in planes]) @ shared.normal
    return float(np.ptp(heights)) / (len(planes) - 1) if len(planes) > 1 else None


def _written(header: Dataset, positions: Sequence[Any], measures: Dataset, cosines: Dataset) -> Dataset:
    """Copies a header and writes the geometry into it, both as a single-frame and as a multi-frame image."""
    copy = header[:]
    copy.pop("SpacingBetweenSlices", None)
    places = [_item(ImagePositionPatient=position) for position in positions]
    for elements in (measures, cosines, places[0]):
        copy.update(elements)
    groups = header.get("SharedFunctionalGroupsSequence")
    shared = groups[0][:] if groups else Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [cosines]
    copy.SharedFunctionalGroupsSequence = [shared]
    copy.PerFrameFunctionalGroupsSequence = [Dataset() for _ in places]
    for frame, place in zip(copy.PerFrameFunctionalGroupsSequence, places, strict=True):
        frame.PlanePositionSequence = [place]
    return copy


def _item(**elements: Any) -> Dataset:
    """Builds a data set of decimal strings."""
    item = Dataset()
    for keyword, value in elements.items():
        values = [DSfloat(float(part), auto_format=True) for part in np.atleast_1d(value)]
        setattr(item, keyword, values if np.ndim(value) else values[0])
    return item
