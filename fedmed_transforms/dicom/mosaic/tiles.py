"""The tiles of a picture that holds slices in a grid, from left to right and from top to bottom."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.planes import MOST_FRAMES, FramePlane


@dataclass(frozen=True)
class Tile:
    """The pixels of one slice in the picture.

    Attributes
    ----------
    number
        Index of the slice in the picture, from 0.
    top, left
        First row and first column.
    rows, columns
        Size in pixels.
    """

    number: int
    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True, eq=False)
class TiledSlice:
    """A slice of such a picture: its tile, and its plane in the patient."""

    tile: Tile
    plane: FramePlane


def cut_tiles(count: int, rows: int, columns: int, square: bool) -> list[Tile]:
    """Divides a picture into tiles: as many in a row as the root of the number of slices, rounded up.

    Parameters
    ----------
    count
        Number of slices; the last tiles of the picture may be empty.
    rows, columns
        Size of the picture in pixels.
    square
        Whether the grid has as many rows of tiles as columns of tiles, or only the rows that hold slices.

    Raises
    ------
    Damaged
        The picture does not divide into such tiles.
    """
    if not 1 <= count <= MOST_FRAMES:
        raise Damaged(f"a grid of {count} slices in one picture, expected 1 to {MOST_FRAMES}")
    across = math.isqrt(count - 1) + 1
    down = across if square else -(-count // across)
    if rows % down or columns % across:
        grid = f"a grid of {down}x{across} tiles of {count} slices"
        raise Damaged(f"a picture of {rows}x{columns} pixels, expected {grid}")
    height, width = rows // down, columns // across
    return [Tile(number, number // across * height, number % across * width, height, width) for number in range(count)]
