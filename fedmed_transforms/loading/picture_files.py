"""Loads pictures (jpg, png, bmp) as a viewer shows them: rotated by their EXIF entry, palettes and alpha as colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import PILReader
from PIL import Image, ImageOps

from fedmed_transforms.image_metadata import FULL_SCALE, Loaded, metadata_of

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


def load_picture(path: Path, device: torch.device) -> Loaded:
    """Loads the values and the metadata of a picture.

    Returns
    -------
    tuple
        (C, X, Y) float32, C = 1 or 3; metadata with an affine in pixels, as a picture has no position in a patient, and
        ``full_scale``, the largest value of its format.

    Raises
    ------
    ValueError
        The picture cannot be decoded; the message names its file.
    """
    reader = PictureReader()
    try:
        array, meta = reader.get_data(reader.read(str(path)))
    except Exception as error:  # PIL raises the errors of its decoders, also for a decompression bomb
        text = str(error).split("\n")[0]
        raise ValueError(f"{path}: expected a readable picture, found {type(error).__name__}: {text}") from error
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)
    values = values[None] if values.ndim == 2 else values.permute(2, 0, 1)  # (C, X, Y)
    return values, {**metadata_of(path, np.eye(4), values.shape[1:]), FULL_SCALE: meta[FULL_SCALE]}


class PictureReader(PILReader):  # type: ignore[misc]
    """Reads jpg, png and bmp as a viewer shows them: rotated by their EXIF entry, palettes and alpha as colours.

    The axes of the array are (x, y), as in MONAI's other readers. The metadata's ``full_scale`` holds the largest
    value of the format: 255, or 65535 for 16-bit greyscale.

    Examples
    --------
    >>> from matplotlib.cbook import get_sample_data
    >>> from monai.transforms import LoadImage
    >>> load = LoadImage("fedmed_transforms.PictureReader", image_only=True)
    >>> load(get_sample_data("grace_hopper.jpg", asfileobj=False)).shape
    torch.Size([512, 600, 3])
    """

    def __init__(self) -> None:
        super().__init__(converter=_as_displayed)

    def _get_meta_dict(self, img: Image.Image) -> dict[str, Any]:
        meta: dict[str, Any] = super()._get_meta_dict(img)
        return {**meta, FULL_SCALE: 65535.0 if img.mode.startswith("I") else 255.0}


def _as_displayed(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB") or image.mode.startswith("I"):
        return image
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")
