"""Loads pictures (jpg, png, bmp, TIFF) as a viewer shows them, or the numbers that a label stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.utils.enums import MetaKeys

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.image_metadata import FULL_SCALE, Loaded, metadata_of
from fedmed_transforms.loading.formats.content import found_text
from fedmed_transforms.loading.formats.voxel_checks import check_exact, replace_not_finite
from fedmed_transforms.loading.pictures.stored_picture import StoredPicture, may_be_deep, read_picture
from fedmed_transforms.loading.refusing_reader import RefusingReader

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")

CONTENTS = ("PNG", "JPEG", "BMP", "TIFF")
"""Formats that are read under any of the suffixes."""

EIGHT_BITS = 255.0


def load_picture(
    path: Path, device: torch.device, rules: SeriesRules | None = None, label: bool = False
) -> Loaded:
    """Loads the values and the metadata of a picture.

    Parameters
    ----------
    path
        The file; its content may be that of another picture format than its suffix.
    device
        The device of the values.
    rules
        The rules ``full_scale`` and ``nan``.
    label
        Whether to load the numbers of a label: the indices of a palette, grey of 1, 2 or 4 bits without scaling.

    Returns
    -------
    tuple
        (C, X, Y) float32, C = 1 or 3; metadata with an affine in pixels, as a picture has no position in a patient, and
        ``full_scale``, the largest value of its format; signed numbers, 32-bit numbers and floats have none.

    Raises
    ------
    ValueError
        The picture cannot be decoded, is one of several in its file, has transparent pixels, or holds values that
        float32 does not; the message names its file.
    """
    rules = rules or SeriesRules()
    try:
        picture = read_picture(path, label)
        check_exact(picture.samples)
        values = np.ascontiguousarray(_channel_first(picture.samples), dtype=np.float32)
        if picture.samples.dtype.kind == "f":
            replace_not_finite(values, None if label else rules.nan)
        scale = picture.full_scale if label else _full_scale(picture, rules)
    except MemoryError:
        raise
    except Exception as error:  # the decoders raise errors of their own, also for a decompression bomb
        found = found_text(path, error, CONTENTS)
        raise ValueError(f"{path}: expected a readable picture, found {found}") from error
    meta = metadata_of(path, np.eye(4), values.shape[1:])
    return torch.from_numpy(values).to(device), meta if scale is None else {**meta, FULL_SCALE: scale}


def deep_picture_maximum(path: Path, rules: SeriesRules) -> tuple[float, float] | None:
    """Measures the largest value of a picture of more than 8 bits.

    Returns
    -------
    tuple or None
        The largest value and the full scale by which it is divided; None for another file, for 8 bits, and for a
        picture that is refused.
    """
    try:
        if not path.is_file() or not may_be_deep(path):
            return None
        values, meta = load_picture(path, torch.device("cpu"), rules)
    except ValueError:  # its dataset refuses it with the reason
        return None
    scale = meta.get(FULL_SCALE, EIGHT_BITS)
    return None if scale <= EIGHT_BITS else (float(values.max()), scale)


def picture_size(path: Path) -> tuple[int, int]:
    """Returns the columns and rows of a picture, upright."""
    rows, columns = read_picture(path).samples.shape[:2]
    return columns, rows


def _channel_first(samples: np.ndarray) -> np.ndarray:
    """Returns (rows, columns[, C]) as (C, X, Y)."""
    return samples.T[None] if samples.ndim == 2 else samples.transpose(2, 1, 0)


def _full_scale(picture: StoredPicture, rules: SeriesRules) -> float | None:
    """Returns the full scale of a picture: the rule's for more than 8 bits, which no value may exceed."""
    if rules.full_scale is None or picture.full_scale == EIGHT_BITS:
        return picture.full_scale
    greatest = float(np.nanmax(picture.samples))
    if greatest > rules.full_scale:
        raise Damaged(f"the value {greatest:g}, expected at most {rules.full_scale:g}, the rule `full_scale`")
    return float(rules.full_scale)


class PictureReader(RefusingReader):
    """Reads jpg, png, bmp and TIFF as a viewer shows them: rotated by their EXIF entry, palettes as colours.

    The axes of the array are (x, y[, channel]), as in MONAI's PILReader. The metadata's ``full_scale`` holds the
    largest value of the format: 255 for 8 bits, 65535 for 16 bits.

    Parameters
    ----------
    device
        The device of the values.
    **rules
        Keywords of :class:`fedmed_transforms.SeriesRules`; ``full_scale`` and ``nan`` are used.

    Examples
    --------
    >>> from matplotlib.cbook import get_sample_data
    >>> from monai.transforms import LoadImage
    >>> load = LoadImage("fedmed_transforms.PictureReader", image_only=True)
    >>> load(get_sample_data("grace_hopper.jpg", asfileobj=False)).shape
    torch.Size([512, 600, 3])
    """

    suffixes = PICTURE_SUFFIXES

    def load(self, path: Path) -> Loaded:
        """Loads the values (X, Y) or (X, Y, 3) and the metadata of a path."""
        values, meta = load_picture(path, self.device, self.rules)
        if len(values) == 1:
            return values[0], {**meta, MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan")}
        return values.permute(1, 2, 0), {**meta, MetaKeys.ORIGINAL_CHANNEL_DIM: -1}  # (C, X, Y) -> (X, Y, C)
