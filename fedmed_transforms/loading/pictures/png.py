"""Reads PNG pictures of 16-bit colours and 16-bit grey with alpha, which Pillow cuts to 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from fedmed_transforms.dicom.archive import LARGEST_RATIO
from fedmed_transforms.dicom.damage import Damaged

HEADER = 26
"""Number of first bytes that hold the size, the bit depth and the colour type (PNG 3rd edition, 11.2.1)."""

COLOUR_TYPES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type: grey, colours, palette, grey with alpha, colours with alpha."""

MOST_PIXELS = 2**28
"""The largest number of pixels; Pillow refuses larger pictures, too."""


def is_deep_colour(path: Path) -> bool:
    """Checks whether a PNG file holds more than one 16-bit sample a pixel."""
    depth, colour = _header(path)[2:]
    return depth == 16 and colour in (2, 4, 6)


def sample_bits(path: Path) -> int:
    """Returns the bits of a sample of a PNG file: 1, 2, 4, 8 or 16."""
    return _header(path)[2]


def read_deep_colour(path: Path) -> npt.NDArray[np.uint16]:
    """Reads a PNG file of 16-bit samples: uint16, (rows, columns, C), C = 2 to 4, alpha last.

    Raises
    ------
    ValueError
        The file is damaged, or too short for its size.
    """
    columns, rows, _, colour = _header(path)
    content = path.read_bytes()
    needed = 2 * columns * rows * COLOUR_TYPES[colour]
    if needed > LARGEST_RATIO * len(content) or columns * rows > MOST_PIXELS:
        raise Damaged(f"{len(content)} bytes for {columns} x {rows} pixels of 16 bits")
    try:
        samples: Any = imagecodecs.png_decode(content)
    except Exception as error:  # the decoder raises its own kind
        raise Damaged(f"a damaged PNG, {type(error).__name__}") from error
    if samples.ndim != 3 or samples.dtype != np.uint16 or samples.shape[:2] != (rows, columns):
        raise Damaged(f"decoded samples {samples.dtype} {samples.shape}, expected uint16 ({rows}, {columns}, 2 to 4)")
    return samples


def _header(path: Path) -> tuple[int, int, int, int]:
    """Returns columns, rows, bit depth and colour type."""
    with path.open("rb") as file:
        start = file.read(HEADER)
    if len(start) < HEADER or start[25] not in COLOUR_TYPES:
        raise Damaged(f"{len(start)} bytes that begin as no PNG header")
    return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big"), start[24], start[25]
