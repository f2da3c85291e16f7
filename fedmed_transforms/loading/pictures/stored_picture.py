"""Reads a picture's samples at their full depth: as a viewer shows them, or as the numbers of a label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.loading.formats.content import content_of
from fedmed_transforms.loading.pictures.png import is_deep_colour, read_deep_colour, sample_bits
from fedmed_transforms.loading.pictures.tiff import grey_if_same, read_tiff
from fedmed_transforms.loading.pictures.upright import orientation_of, turn_upright

PILLOW_FORMATS = ("PNG", "JPEG", "BMP")
"""Formats that Pillow reads; its format MPO is a JPEG of a camera with smaller pictures behind the first."""

LOSSY = ("JPEG", "MPO")

LOSSY_LABEL = "a label in a lossy format, expected png, NIfTI or DICOM"

TRANSPARENT = (
    "transparent pixels, expected an opaque picture: the file does not state the colour behind them; "
    "flatten the picture on its background"
)


@dataclass(frozen=True)
class StoredPicture:
    """The samples of a picture.

    Attributes
    ----------
    samples
        (rows, columns) or (rows, columns, 3), upright, without alpha.
    full_scale
        The largest value that a sample may have; None for signed numbers, 32-bit numbers and floats.
    """

    samples: npt.NDArray[Any]
    full_scale: float | None


def read_picture(path: Path, label: bool = False) -> StoredPicture:
    """Reads a png, jpg, bmp or TIFF by its content, upright by its EXIF entry.

    Parameters
    ----------
    path
        The file.
    label
        Whether to read the stored numbers: the indices of a palette, and grey of 1, 2 or 4 bits without scaling.

    Raises
    ------
    ValueError
        The file holds several pictures or transparent pixels, or a label in a lossy format.
    """
    if content_of(path) == "TIFF":
        samples, scale = read_tiff(path, label)
        return StoredPicture(opaque(samples, scale), scale)
    with Image.open(path, formats=PILLOW_FORMATS) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":
            raise Damaged(f"{frames} pictures (an animation), expected one; save each as a file of its own")
        if label and image.format in LOSSY:
            raise Damaged(LOSSY_LABEL)
        samples, scale = _samples(path, image, label)
        return StoredPicture(turn_upright(samples, orientation_of(image.getexif())), scale)


def may_be_deep(path: Path) -> bool:
    """Checks by its first bytes whether a file may be a picture of more than 8 bits."""
    content = content_of(path)
    return content == "TIFF" or (content == "PNG" and sample_bits(path) > 8)


def opaque(samples: npt.NDArray[Any], full_scale: float | None) -> npt.NDArray[Any]:
    """Returns grey or colours without their alpha channel, which must be opaque everywhere.

    Parameters
    ----------
    samples
        (rows, columns[, C]) with C from 1 to 4; the second and the fourth channel are alpha.
    full_scale
        The value of an opaque alpha.

    Raises
    ------
    ValueError
        A pixel is transparent.
    """
    if samples.ndim == 2 or samples.shape[2] == 3:
        return samples
    if samples.shape[2] in (2, 4):
        if bool((samples[..., -1] != full_scale).any()):
            raise Damaged(TRANSPARENT)
        samples = samples[..., :-1]
    return samples[..., 0] if samples.shape[2] == 1 else samples


def _samples(path: Path, image: Image.Image, label: bool) -> tuple[npt.NDArray[Any], float | None]:
    """Returns the samples as stored in rows and columns, without alpha, and their full scale."""
    if image.format == "PNG" and is_deep_colour(path):
        return opaque(read_deep_colour(path), 65535), 65535.0
    if image.mode.startswith("I"):
        _check_key(image)
        return np.asarray(image), 65535.0
    if label and image.mode in ("P", "1", "L"):
        return _indices(path, image), 255.0
    image = _without_transparency(image)
    if image.mode == "P":
        return _shown_palette(image), 255.0
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image), 255.0


def _indices(path: Path, image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns the stored numbers of a palette, or of grey of 1 to 8 bits; Pillow spreads 2 and 4 bits to 0 to 255."""
    samples = np.asarray(image).astype(np.uint8)
    bits = sample_bits(path) if image.format == "PNG" and image.mode == "L" else 8
    return samples // np.uint8(255 // (2**bits - 1))


def _shown_palette(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns the colours of a palette; one channel if all of them are grey."""
    return grey_if_same(np.asarray(image.convert("RGB")))


def _without_transparency(image: Image.Image) -> Image.Image:
    """Returns the picture without its alpha channel or its transparent colour; refuses transparent pixels."""
    if image.mode not in ("LA", "RGBA", "La", "RGBa", "PA") and "transparency" not in image.info:
        return image
    shown = image.convert("RGBA")
    if shown.getextrema()[3] != (255, 255):
        raise Damaged(TRANSPARENT)
    image.info.pop("transparency", None)
    if image.mode in ("1", "L", "P", "RGB"):
        return image
    return image.convert("L") if image.mode in ("LA", "La") else shown.convert("RGB")


def _check_key(image: Image.Image) -> None:
    """Refuses 16-bit grey with pixels of the colour that the file declares as transparent."""
    key = image.info.get("transparency")
    if key is not None and bool((np.asarray(image) == key).any()):
        raise Damaged(TRANSPARENT)
