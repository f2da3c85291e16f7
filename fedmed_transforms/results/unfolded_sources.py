"""Describes sources of several slices in one file as multi-frame images, as highdicom asks for them.

These are pictures that hold the slices of a volume in a grid, and images of several frames whose SOP class is of one
frame. A segmentation of such a source has a frame for each slice, in its place in the patient. It refers to the
source by its own SOP class; a picture in a grid has no frames to which a number could refer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from fedmed_transforms.dicom.frame_positions import read_frame_planes
from fedmed_transforms.dicom.mosaic.find import find_slices
from fedmed_transforms.dicom.mosaic.tiles import TiledSlice
from fedmed_transforms.dicom.planes import frame_elements, readable_plane
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
        tiled = find_slices(frames[0], read_frame_planes(frames)[0], lambda: header) if len(frames) == 1 else []
    if not tiled and (len(frames) == 1 or header.SOPClassUID not in SINGLE_FRAME):
        return header
    changed = _frames_of(tiled)
    changed.SOPClassUID = EnhancedMRImageStorage
    copy = header[:]
    copy.update(changed)  # an element of the copy is that of the header, whose value must stay
    copy.filename = name
    return copy


def _frames_of(tiled: Sequence[TiledSlice]) -> Dataset:
    """Describes the tiles of a picture as frames, each with its position; empty for no tile."""
    frames = Dataset()
    if not tiled:
        return frames
    frames.Rows, frames.Columns, frames.NumberOfFrames = tiled[0].tile.rows, tiled[0].tile.columns, len(tiled)
    frames.PerFrameFunctionalGroupsSequence = [Dataset() for _ in tiled]
    for group, item in zip(frames.PerFrameFunctionalGroupsSequence, tiled, strict=True):
        place = Dataset()
        assert item.plane.position is not None
        place.ImagePositionPatient = [DSfloat(float(part), auto_format=True) for part in item.plane.position]
        group.PlanePositionSequence = [place]
    return frames


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
    changed = {str(source.SOPInstanceUID): source for source, used in pairs if source is not used}
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
