"""Reads the grid of a Siemens mosaic.

A mosaic states the position of a picture of its own size around the slice's centre, so the first pixel of a slice lies
half of the difference of the sizes further along the row and the column. The order of the slices is that of the slice
normal in the CSA image header, which may be against the normal of the rows and columns.

Source: nibabel, "DICOM mosaic" and "Siemens CSA header".
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.mosaic.private_elements import REMOVED, private_value, whole_number
from fedmed_transforms.dicom.mosaic.tiles import Tile, TiledSlice, cut_tiles
from fedmed_transforms.dicom.planes import FramePlane, Vector

COUNT = "NumberOfImagesInMosaic"
NORMAL = "SliceNormalVector"
SPACING = "SpacingBetweenSlices"
CSA = "the CSA image header (0029,xx10)"

ALONG = 0.99
"""Smallest cosine between the slice normal and the normal of the rows and columns; they are the same but for rounding.
"""


def siemens_slices(header: Dataset, plane: FramePlane) -> list[TiledSlice]:
    """Finds the slices of a Siemens mosaic.

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
    tags = csa_image_header(header)
    count = _count(header, tags)
    tiles = cut_tiles(count, int(header.Rows), int(header.Columns), square=True)
    missing = [
        keyword
        for keyword, value in (
            ("ImagePositionPatient", plane.position),
            ("ImageOrientationPatient", plane.directions),
            ("PixelSpacing", plane.spacing),
        )
        if value is None
    ]
    if missing:
        raise Damaged(f"a mosaic of {count} slices without {', '.join(missing)}")
    step = _step(tags, plane, count)
    first = _first_pixel(plane, header, tiles[0])
    return [TiledSlice(tile, replace(plane, position=first + tile.number * step)) for tile in tiles]


def csa_image_header(header: Dataset) -> dict[str, Any]:
    """Reads the tags of the CSA image header; an empty mapping where it is absent.

    Raises
    ------
    Damaged
        It does not read.
    """
    content = private_value(header, 0x29, "SIEMENS CSA HEADER", 0x10)
    if not content:
        return {}
    try:
        read: dict[str, Any] = _reader().read(content)
    except Exception as error:  # the reader raises a handful of kinds for damaged content
        raise Damaged(f"a mosaic with a damaged CSA image header (0029,xx10), {type(error).__name__}") from None
    return {name: tag["items"] for name, tag in read["tags"].items()}


@lru_cache(maxsize=1)
def _reader() -> Any:
    """Imports nibabel's reader without its warning that the other readers beside it are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader
    return csareader


def _count(header: Dataset, tags: dict[str, Any]) -> int:
    stated = {
        whole_number(private_value(header, 0x19, "SIEMENS MR HEADER", 0x0A), f"{COUNT} (0019,xx0A)"),
        whole_number(next(iter(tags.get(COUNT, [])), None), COUNT),
    } - {None, 0}
    if len(stated) > 1:
        raise Damaged(f"a mosaic with two values of {COUNT}, in (0019,xx0A) and in {CSA}")
    if not stated:
        raise Damaged(f"a mosaic of slices without {COUNT} in (0019,xx0A) and in {CSA}: {REMOVED}")
    return int(stated.pop() or 0)


def _step(tags: dict[str, Any], plane: FramePlane, count: int) -> Vector:
    """Computes the step from a slice to the next, (3,), mm, LPS."""
    if count == 1:
        return np.zeros(3)
    normal = _numbers(tags, NORMAL)
    if len(normal) != 3:
        raise Damaged(f"a mosaic of {count} slices of unknown order, without a {NORMAL} in {CSA}: {REMOVED}")
    cosine = float(np.dot(normal, plane.normal))
    if not abs(cosine) > ALONG:
        raise Damaged(f"a mosaic with a {NORMAL} in {CSA} that is not the normal of its ImageOrientationPatient")
    distance = plane.slice_spacing or abs(next(iter(_numbers(tags, SPACING)), 0.0))
    if not distance:
        raise Damaged(f"a mosaic of {count} slices without {SPACING}")
    return np.asarray(np.sign(cosine) * distance * plane.normal)


def _numbers(tags: dict[str, Any], name: str) -> list[float]:
    values = [value for value in tags.get(name, []) if isinstance(value, (int, float)) and np.isfinite(value)]
    return values if len(values) == len(tags.get(name, [])) else []


def _first_pixel(plane: FramePlane, header: Dataset, tile: Tile) -> Vector:
    """Computes the centre of the first pixel of a slice from the position that the mosaic states, (3,), mm, LPS."""
    assert plane.position is not None and plane.directions is not None and plane.spacing is not None
    pixels = np.array([int(header.Columns) - tile.columns, int(header.Rows) - tile.rows]) / 2
    return plane.position + (pixels * plane.spacing) @ plane.directions
