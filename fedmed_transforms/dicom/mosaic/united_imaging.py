"""Reads the grid of a United Imaging (UIH) picture of a whole volume, ImageType VFRAME.

A private sequence of the file states the position of each slice. Source: the vendor's table of private elements, in
the notes of dcm2niix on UIH.
"""

from __future__ import annotations

from dataclasses import replace

from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.mosaic.private_elements import REMOVED, items_of, private_value, whole_number
from fedmed_transforms.dicom.mosaic.tiles import TiledSlice, cut_tiles
from fedmed_transforms.dicom.planes import FrameElements, FramePlane, read_planes

CREATOR = "Image Private Header"
COUNT = "MR Number Of Slice In Volume (0065,xx50)"
FRAMES = "MR VFrame Sequence (0065,xx51)"


def united_imaging_slices(header: Dataset, plane: FramePlane) -> list[TiledSlice]:
    """Finds the slices of a United Imaging picture of a volume.

    Parameters
    ----------
    header
        The whole header, with its private elements.
    plane
        Of the picture, as its header states it.

    Raises
    ------
    Damaged
        An element without which the slices lie nowhere is absent or contradicts another one; the message names it.
    """
    count = whole_number(private_value(header, 0x65, CREATOR, 0x50), COUNT)
    if not count:
        raise Damaged(f"a picture of a whole volume (ImageType VFRAME) without {COUNT}: {REMOVED}")
    tiles = cut_tiles(count, int(header.Rows), int(header.Columns), square=False)
    items = items_of(private_value(header, 0x65, CREATOR, 0x51))
    if not items:
        raise Damaged(f"a picture of {count} slices (ImageType VFRAME) without {FRAMES}: {REMOVED}")
    if len(items) != count:
        raise Damaged(f"a picture of {count} slices (ImageType VFRAME), but {len(items)} items in {FRAMES}")
    positions = [read_planes([FrameElements(item, [])])[0].position for item in items]
    if plane.directions is None or plane.spacing is None or any(position is None for position in positions):
        raise Damaged(
            f"a picture of {count} slices (ImageType VFRAME) without ImageOrientationPatient, PixelSpacing, or "
            f"ImagePositionPatient in each item of {FRAMES}"
        )
    return [TiledSlice(tile, replace(plane, position=at)) for tile, at in zip(tiles, positions, strict=True)]
