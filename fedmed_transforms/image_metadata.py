"""What an image brings along beside its values: its file, its affine, the DICOM elements it was read with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor

DICOM = "dicom"
"""Entry of an image's metadata: its DICOM elements, keyword to plain value (text, number, or a list of them)."""


def file_of(image: torch.Tensor) -> str:
    """The file that an image was read from, for messages; ``"image"`` where none is known."""
    return str(image.meta.get("filename_or_obj", "image")) if isinstance(image, MetaTensor) else "image"


def values_of(image: torch.Tensor) -> torch.Tensor:
    """The values alone, without a copy."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def like(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values with the metadata of the image they were made from; plain where that image was plain."""
    return MetaTensor(values, meta=dict(image.meta)) if isinstance(image, MetaTensor) else values


def dicom_of(image: torch.Tensor) -> Mapping[str, Any]:
    """The DICOM elements that an image was read with; none for an image of another format."""
    elements = image.meta.get(DICOM) if isinstance(image, MetaTensor) else None
    return elements if isinstance(elements, Mapping) else {}


def required(image: torch.Tensor, keyword: str, purpose: str) -> Any:
    """One DICOM element of an image.

    Parameters
    ----------
    image
        With the entry :data:`DICOM` in its metadata.
    keyword
        As DICOM PS3.6 spells it.
    purpose
        What it is needed for, for the message.

    Raises
    ------
    ValueError
        The image has no such element, or an empty one; the message names its file and the keyword.
    """
    value = dicom_of(image).get(keyword)
    empty = not value.strip() if isinstance(value, str) else value is None or value == []
    if empty:
        raise ValueError(f"{file_of(image)}: found no {keyword}, expected the DICOM element for {purpose}")
    return value


def number(image: torch.Tensor, keyword: str, purpose: str) -> float:
    """One DICOM element as a number, the first of several.

    Raises
    ------
    ValueError
        The element is missing, empty, or no number; the message names the file and the keyword.
    """
    value = required(image, keyword, purpose)
    first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value
    try:
        return float(first)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file_of(image)}: {keyword}: found {first!r}, expected a number") from error
