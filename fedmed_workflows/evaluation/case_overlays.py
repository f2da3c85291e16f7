"""Draws the best, the median and the worst case of a site, with the outlines of label and prediction."""

from __future__ import annotations

import io
from bisect import insort
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.utils import affine_to_spacing
from PIL import Image, ImageColor
from scipy.ndimage import binary_dilation, binary_erosion

from fedmed_transforms.image_metadata import plain_tensor
from fedmed_transforms.preprocessing.pictures import cut_of
from fedmed_transforms.whole_file import write_whole

LABEL_COLOR = "#56B4E9"
PREDICTION_COLOR = "#D55E00"
"""Sky blue and vermilion of Okabe and Ito, distinguishable with any colour vision and from any grey."""

CASES = ("best", "median", "worst")

LONGEST_SIDE = 384
"""Longer side of a picture, in pixels."""

LINE = 2
"""Width of an outline, in pixels."""

KEPT = 64
"""Maximum number of pictures in memory, including the best, the worst and the nearest to the median so far."""


class CaseOverlays:
    """Writes pictures of the best, the median and the worst case.

    The pictures show images of patients. They are for the site, and have neither the name of a file nor the name of a
    patient. With more cases than :data:`KEPT`, the median case is the case in memory with the Dice nearest to the
    median.

    Parameters
    ----------
    folder
        Folder for ``best.png``, ``median.png`` and ``worst.png``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._scores: list[float] = []
        self._kept: list[tuple[float, bytes]] = []

    def start(self) -> None:
        """Clears all cases and removes the pictures of an earlier evaluation."""
        self._scores.clear()
        self._kept.clear()
        for case in CASES:
            (self.folder / f"{case}.png").unlink(missing_ok=True)

    def add(self, dice: float, image: torch.Tensor, label: torch.Tensor, prediction: torch.Tensor) -> None:
        """Adds a case.

        Parameters
        ----------
        dice
            Mean Dice over the classes of the case; a case with NaN is left out.
        image
            (c, X, Y) or (c, X, Y, Z) in [0, 1]. The affine of a volume determines its orientation.
        label, prediction
            (C, X, Y) or (C, X, Y, Z) boolean.
        """
        if np.isnan(dice):
            return
        insort(self._scores, dice)
        insort(self._kept, (dice, overlay(*largest_slice(image, label, prediction))))
        if len(self._kept) > KEPT:
            inner = range(1, KEPT)  # neither the worst nor the best
            self._kept.pop(max(inner, key=lambda place: abs(self._kept[place][0] - self._median)))

    def write(self) -> list[dict[str, Any]]:
        """Writes the pictures, each case once; returns ``{"case", "dice", "file"}`` for each picture."""
        inner = sorted(self._kept[1:-1], key=lambda kept: abs(kept[0] - self._median))
        chosen = dict(zip(CASES, (self._kept[-1:], inner[:1], self._kept[:-1][:1]), strict=True))
        cases = []
        for case, (dice, picture) in ((case, kept[0]) for case, kept in chosen.items() if kept):
            write_whole(self.folder / f"{case}.png", picture)
            cases.append({"case": case, "dice": dice, "file": f"{self.folder.name}/{case}.png"})
        return cases

    @property
    def _median(self) -> float:
        """Median Dice of all cases; the lower value for an even number of cases."""
        return self._scores[(len(self._scores) - 1) // 2]


def largest_slice(
    image: torch.Tensor, label: torch.Tensor, prediction: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[float]]:
    """Returns the slice with the largest labelled area, upright.

    Returns
    -------
    tuple
        Image (H, W, 1 or 3), label and prediction (C, H, W), and spacing of rows and columns.
    """
    parts = [plain_tensor(part).cpu() for part in (image if image.shape[0] == 3 else image[:1], label, prediction)]
    if image.ndim == 3:
        pictures, spacing = [part.transpose(1, 2) for part in parts], [1.0, 1.0]  # (C, H, W) each
    else:
        cut = cut_of(image)
        axis, rows, columns = cut.order
        place = int(parts[1].movedim(1 + axis, 0).flatten(1).sum(1).argmax())
        pictures = [cut.pictures(part.narrow(1 + axis, place, 1))[0] for part in parts]  # (C, H, W) each
        every = spacing_of(image)
        spacing = [every[rows], every[columns]]
    return pictures[0].permute(1, 2, 0).numpy(), pictures[1].numpy(), pictures[2].numpy(), spacing


def spacing_of(image: torch.Tensor) -> list[float]:
    """Returns the spacing of a volume along each axis in mm; 1 for a picture, which has no valid affine."""
    affine = getattr(image, "affine", None)
    if image.ndim == 3 or affine is None:
        return [1.0] * (image.ndim - 1)
    return [float(width) for width in affine_to_spacing(affine)]


def overlay(image: np.ndarray, label: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> bytes:
    """Draws a picture with the outlines of label and prediction.

    The outline of the label is inside the label's edge, the outline of the prediction outside the prediction's edge. If
    both masks are equal, the outlines are side by side and do not hide each other.

    Parameters
    ----------
    image
        (H, W, 1 or 3) in [0, 1].
    label, prediction
        (C, H, W) boolean.
    spacing
        Spacing of rows and columns. Pixels that are not square are stretched by their spacing.

    Returns
    -------
    bytes
        A PNG file whose longer side is :data:`LONGEST_SIDE`.
    """
    extent = image.shape[1] * spacing[1], image.shape[0] * spacing[0]  # columns, rows
    size = tuple(max(1, round(LONGEST_SIDE * part / max(extent))) for part in extent)
    bright = (np.nan_to_num(image).clip(0, 1) * 255).round().astype(np.uint8)
    picture = Image.fromarray(np.broadcast_to(bright, (*bright.shape[:2], 3)).copy())
    drawn = np.array(picture.resize(size, Image.Resampling.BILINEAR))
    for mask in label:
        large = _enlarged(mask, size)
        drawn[large & ~binary_erosion(large, iterations=LINE)] = ImageColor.getrgb(LABEL_COLOR)
    for mask in prediction:
        large = _enlarged(mask, size)
        drawn[binary_dilation(large, iterations=LINE) & ~large] = ImageColor.getrgb(PREDICTION_COLOR)
    content = io.BytesIO()
    Image.fromarray(drawn).save(content, "PNG")
    return content.getvalue()


def _enlarged(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    picture = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(picture, dtype=bool)
