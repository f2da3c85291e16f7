"""Reads TIFF pictures of one page at their full depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmed_transforms.dicom.archive import LARGEST_RATIO
from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.pixels.codestream import read_codestream
from fedmed_transforms.dicom.silenced_parsers import silenced_parsers
from fedmed_transforms.loading.pictures.upright import ORIENTATION, turn_upright

WHITE_IS_ZERO, BLACK_IS_ZERO, COLOURS, PALETTE, YCBCR = 0, 1, 2, 3, 6
"""Values of PhotometricInterpretation (TIFF 6.0, section 8)."""

NONE, LZW, JPEG, DEFLATE, ADOBE_DEFLATE, PACK_BITS = 1, 5, 7, 32946, 8, 32773
"""Values of Compression that are read: each bounds the size of what it decodes to."""

MOST_PAGES = 64
"""The largest number of pages that are looked at: a picture and its smaller copies."""

REDUCED = 1
"""Bit of NewSubfileType: the page is a smaller copy of another page."""

ALPHA = (1, 2)
"""Values of ExtraSamples: alpha, already multiplied or not."""


def read_tiff(path: Path, label: bool = False) -> tuple[npt.NDArray[Any], float | None]:
    """Reads a TIFF file with one picture, upright by its Orientation.

    Parameters
    ----------
    path
        The file.
    label
        Whether to read the stored numbers: the indices of a palette, and grey without scaling or inversion.

    Returns
    -------
    tuple
        (rows, columns[, C]) with C from 2 to 4, alpha last; and the largest value that a sample may have, None for
        signed numbers, 32-bit numbers and floats.

    Raises
    ------
    ValueError
        The file holds several pages, is shorter than its entries say, or holds other samples than grey and colours.
    """
    import tifffile

    try:
        with silenced_parsers(), tifffile.TiffFile(path) as file:
            return _read(_only_page(file), path.stat().st_size, label)
    except (Damaged, MemoryError):
        raise
    except Exception as error:  # texts of the parser quote the file
        raise Damaged(f"a damaged TIFF, {type(error).__name__}") from error


def _read(page: Any, size: int, label: bool) -> tuple[npt.NDArray[Any], float | None]:
    _check_page(page, label)
    _check_size(page, size)
    samples, orientation = np.asarray(page.asarray()), page.tags.get(ORIENTATION)
    samples = np.moveaxis(samples, 0, -1) if page.axes == "SYX" else samples
    samples = turn_upright(samples, int(orientation.value) if orientation is not None else 1)
    samples = samples.astype(np.uint8) if samples.dtype == bool else samples
    bits = int(page.bitspersample)
    if label:
        return samples, _full_scale(samples, bits)
    colormap = page.colormap if int(page.photometric) == PALETTE else None
    return _shown(samples, bits, colormap, int(page.photometric) == WHITE_IS_ZERO)


def _shown(
    samples: npt.NDArray[Any], bits: int, colormap: Any, inverted: bool
) -> tuple[npt.NDArray[Any], float | None]:
    """Returns the samples as a viewer shows them; colours of a palette and fewer than 8 bits in [0, 255]."""
    if colormap is not None:
        return grey_if_same((np.asarray(colormap)[:, samples] >> 8).astype(np.uint8).transpose(1, 2, 0)), 255.0
    scale = _full_scale(samples, bits)
    if inverted:
        samples = (0 if scale is None else samples.dtype.type(scale)) - samples
    if bits < 8:
        return samples * np.uint8(255 // (2**bits - 1)), 255.0
    return samples, scale


def grey_if_same(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns the colours of a palette (rows, columns, 3); one channel (rows, columns) if all of them are grey."""
    grey = colours[..., 0]
    return np.ascontiguousarray(grey) if bool((colours == grey[..., None]).all()) else colours


def _full_scale(samples: npt.NDArray[Any], bits: int) -> float | None:
    return float(2**bits - 1) if samples.dtype.kind == "u" and bits <= 16 else None


def _only_page(file: Any) -> Any:
    """Returns the only picture of a file; smaller copies of the picture do not count."""
    count = len(file.pages)
    if count > MOST_PAGES:
        raise Damaged(f"{count} pages, expected one; save each page as a file of its own")
    every = [file.pages[index].aspage() for index in range(count)]  # the iterator runs for ever through a circle
    pages = [page for page in every if not int(page.subfiletype) & REDUCED]
    if len(pages) != 1:
        raise Damaged(f"{len(pages)} pages, expected one; save each page as a file of its own")
    page = pages[0]
    stacked = file.series[0].size // max(1, page.size) if file.series else 1
    if stacked > 1:
        raise Damaged(f"{stacked} pictures in one page, expected one; save each as a file of its own")
    return page


def _check_page(page: Any, label: bool) -> None:
    """Refuses samples whose meaning is not grey, a palette, or RGB."""
    photometric, compression, count = int(page.photometric), int(page.compression), int(page.samplesperpixel)
    if compression not in (NONE, LZW, JPEG, DEFLATE, ADOBE_DEFLATE, PACK_BITS):
        raise Damaged(f"Compression {compression}, expected none, LZW, JPEG, deflate or PackBits")
    if label and compression == JPEG:
        raise Damaged("a label in a lossy format, expected png, NIfTI or DICOM")
    known = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, COLOURS, PALETTE)
    if not known and (photometric, compression) != (YCBCR, JPEG):
        raise Damaged(f"PhotometricInterpretation {photometric}, expected grey, a palette or RGB (0 to 3)")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise Damaged(f"axes {page.axes}, expected rows and columns of one picture")
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise Damaged(f"SampleFormat {page.sampleformat} of {page.bitspersample} bits, expected integers or floats")
    extra = [int(value) for value in page.extrasamples]
    main = 3 if photometric in (COLOURS, YCBCR) else 1
    if count - main not in (0, 1) or (count > main and (not extra or extra[0] not in ALPHA)):
        raise Damaged(f"{count} samples a pixel, expected {main}, or {main} and alpha")


def _check_size(page: Any, size: int) -> None:
    """Refuses a page whose data are not in the file, before memory is reserved for them."""
    counts, offsets = page.databytecounts, page.dataoffsets
    if not counts or any(count <= 0 or start <= 0 or start + count > size for start, count in zip(offsets, counts)):
        raise Damaged(f"{size} bytes, expected all strips or tiles of the picture in them")
    ratio = 1 if int(page.compression) == NONE else LARGEST_RATIO
    packed = int(page.size) * int(page.bitspersample) // 8
    part = math.prod(page.chunks) * int(page.bitspersample) // 8  # of a strip or a tile
    if packed > ratio * sum(counts) or (page.is_tiled and part > ratio * max(counts)):
        raise Damaged(f"{sum(counts)} bytes of samples, expected {max(packed, part)}")
    if int(page.compression) == JPEG:
        for segment in page.parent.filehandle.read_segments(offsets, counts):
            _check_frame(segment[0], page.chunks)


def _check_frame(frame: bytes, chunk: Sequence[int]) -> None:
    """Refuses a strip or tile whose JPEG frame declares more rows or columns than the strip or tile has."""
    try:
        declared = read_codestream(frame)
    except ValueError as error:
        raise Damaged(str(error)) from None
    if declared.rows * declared.columns > math.prod(chunk):
        raise Damaged(f"a JPEG frame of {declared.rows} x {declared.columns} pixels in a part of {tuple(chunk)}")
