"""Describes sources of several slices in one file as multi-frame images, as highdicom asks for them.

These are pictures that hold the slices of a volume in a grid, images of several frames whose SOP class is of one frame,
and frames whose positions follow from that of the first. A segmentation of such a source has a frame for each slice, in
its place in the patient. It refers to the source by its own SOP class; a picture in a grid has no frames to which a
number could refer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)
from pydicom.valuerep import DSfloat

from fedmed_transforms.dicom.dicom_file import frame_count
from fedmed_transforms.dicom.frame_positions import has_own_positions, read_frame_planes
from fedmed_transforms.dicom.mosaic.find import find_slices
from fedmed_transforms.dicom.planes import FramePlane, Vector, frame_elements, readable_plane
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers
from fedmed_transforms.results.sources import source_name

SINGLE_FRAME = (CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage, SecondaryCaptureImageStorage)
"""SOP classes of one frame, some of whose images have several nevertheless."""


def unfold_sources(headers: Sequence[Dataset]) -> list[Dataset]:
    """Copies the headers of such sources as those of multi-frame images; other headers stay as they are.

    Raises
    ------
    ValueError
        The header of a picture in a grid does not state where its slices lie; the message names the file.
    """
    return [_unfold(header, source_name(header, number)) for number, header in enumerate(headers, start=1)]


def _unfold(header: Dataset, name: str) -> Dataset:
    with silenced_parsers(), readable_plane(name):
        frames = frame_elements(header)
        planes = read_frame_planes(frames)
        tiled = find_slices(frames[0], planes[0], lambda: header) if len(frames) == 1 else []
    if not tiled and len(frames) == 1:
        return header
    changed = Dataset()
    if tiled:
        tile = tiled[0].tile
        changed.Rows, changed.Columns, changed.NumberOfFrames = tile.rows, tile.columns, len(tiled)
        planes = [item.plane for item in tiled]
    if tiled or header.SOPClassUID in SINGLE_FRAME:
        changed.SOPClassUID = EnhancedMRImageStorage
    if tiled or not has_own_positions(frames):
        changed.update(_with_positions(header, planes))
    copy = header[:]
    copy.update(changed)  # an element of the copy is that of the header, whose value must stay
    copy.filename = name
    return copy


def _with_positions(header: Dataset, planes: Sequence[FramePlane]) -> Dataset:
    """Writes the place of each frame into functional groups; empty where a frame has none."""
    written = Dataset()
    if any(plane.position is None or plane.directions is None for plane in planes):
        return written
    groups = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    groups = [group[:] for group in groups] if len(groups) == len(planes) else [Dataset() for _ in planes]
    for group, plane in zip(groups, planes, strict=True):
        place, orientation = Dataset(), Dataset()
        place.ImagePositionPatient = _decimals(plane.position)
        orientation.ImageOrientationPatient = _decimals(plane.directions)
        group.PlanePositionSequence, group.PlaneOrientationSequence = [place], [orientation]
    written.PerFrameFunctionalGroupsSequence = groups
    return written


def _decimals(values: Vector | None) -> list[DSfloat]:
    return [DSfloat(float(value), auto_format=True) for value in np.ravel(np.asarray(values))]


def refer_to_sources(result: Dataset, originals: Sequence[Dataset], unfolded: Sequence[Dataset]) -> None:
    """Corrects the references of a segmentation to sources that :func:`unfold_sources` changed, in place.

    Parameters
    ----------
    result
        The segmentation.
    originals, unfolded
        Headers of the sources as they are, and as highdicom got them.
    """
    pairs = zip(originals, unfolded, strict=True)
    changed = {str(source.SOPInstanceUID): source for source, used in pairs if source.SOPClassUID != used.SOPClassUID}
    for item in _items(result) if changed else ():
        source = changed.get(str(item.get("ReferencedSOPInstanceUID")))
        if source is None:
            continue
        item.ReferencedSOPClassUID = source.SOPClassUID
        item.pop("ReferencedFrameNumber", None)  # PS3.3, table 10-3: only of a multi-frame SOP class
        if frame_count(source) == 1 and "SpatialLocationsPreserved" in item:
            item.SpatialLocationsPreserved = "NO"  # pixels of the picture lie elsewhere in the segmentation


def _items(holder: Dataset) -> Iterator[Dataset]:
    for element in holder:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _items(item)
