"""Defines the metadata of an image: its file, its affine, and the DICOM elements of its file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

Loaded: TypeAlias = tuple[torch.Tensor, dict[str, Any]]
"""The values, channel first, and the metadata of :func:`metadata_of`, as the loader of every format returns them."""

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Matrix between DICOM's axes (to the patient's left and posterior) and MONAI's axes (to the right and anterior)."""

DICOM = "dicom"
"""Entry of an image's metadata with DICOM elements by keyword, in DICOM's own text form: several values are separated
by a backslash, a missing value is empty. All values are text and all images have the same keywords, so that images form
batches."""

SOURCE_INSTANCES = "source_instances"
"""Entry of an image's metadata with the SOPInstanceUIDs of the voxels' files, separated by backslashes."""

RESAMPLED = "resampled"
"""Entry of an image's metadata: "yes" for a DICOM volume that a rule made regular, so that its voxels are resampled."""

SOURCE_FILES = "source_files"
"""Entry of an image's metadata with the paths of the voxels' DICOM files as JSON; empty for a zip."""

SOURCE_FRAMES = "source_frames"
"""Entry of an image's metadata with the numbers of the voxels' frames, from 1, by SOPInstanceUID as JSON, for files of
which not all frames are the voxels'; empty where all are."""

SEGMENTS = "segments"
"""Entry of the metadata of a DICOM segmentation with the number and the label of each channel's segment, as JSON."""

STRUCTURES = "structures"
"""Entry of the metadata of an RTSTRUCT, which has no voxels, with its structures and their contours."""

REGIONS = "regions"
"""Entry of a label map's metadata with the regions that it was made of, as JSON."""

STORED_TYPE = "stored_type"
"""Entry of an image's metadata with numpy's name of the type of the file's voxels, set by readers of files that may
hold whole numbers that float32 rounds: an image may have them, a label may not."""

PADDING_REPLACED = "padding_replaced"
"""Entry of an image's metadata: "yes" for a DICOM image whose padded pixels were given the lowest other value."""

FULL_SCALE = "full_scale"
"""Entry of an image's metadata with the largest value of its file format, set by readers of pictures."""


def metadata_of(path: Path, affine: npt.NDArray[np.float64], shape: Sequence[int]) -> dict[str, Any]:
    """Returns the metadata of a channel-first image for MONAI's spatial transforms, ``Invertd`` and ``SaveImaged``.

    Parameters
    ----------
    path
        The path of the image.
    affine
        (4, 4), voxels to mm, RAS.
    shape
        The spatial shape, without channels.
    """
    return {
        MetaKeys.AFFINE: affine,
        MetaKeys.ORIGINAL_AFFINE: affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.asarray(shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM: 0,
        MetaKeys.SPACE: SpaceKeys.RAS,
        "filename_or_obj": str(path),
    }


def file_of(image: torch.Tensor) -> str:
    """Returns the file of an image for error messages; ``"image"`` if the file is unknown."""
    return str(image.meta.get("filename_or_obj", "image")) if isinstance(image, MetaTensor) else "image"


def plain_tensor(image: torch.Tensor) -> torch.Tensor:
    """Returns the values without metadata and without a copy."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def with_metadata_of(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Returns values with the metadata of their image; a plain tensor if the image is a plain tensor."""
    return MetaTensor(values, meta=dict(image.meta)) if isinstance(image, MetaTensor) else values


def dicom_of(image: torch.Tensor) -> Mapping[str, str]:
    """Returns the DICOM elements of an image; an empty mapping for an image of another format."""
    elements = image.meta.get(DICOM) if isinstance(image, MetaTensor) else None
    return elements if isinstance(elements, Mapping) else {}


def source_files(image: torch.Tensor) -> list[Path]:
    """Lists the DICOM files of an image's voxels, bottom slice first; an empty list if the files are unknown."""
    text = image.meta.get(SOURCE_FILES) if isinstance(image, MetaTensor) else None
    return [Path(name) for name in json.loads(text)] if text else []


def source_frames(image: torch.Tensor) -> dict[str, list[int]]:
    """Returns the numbers of an image's frames, from 1, by SOPInstanceUID, for files of which not all are the image's.
    """
    text = image.meta.get(SOURCE_FRAMES) if isinstance(image, MetaTensor) else None
    return dict(json.loads(text)) if text else {}


def required(image: torch.Tensor, keyword: str, purpose: str) -> str:
    """Returns a DICOM element of an image, which must have a value.

    Parameters
    ----------
    image
        An image with the entry :data:`DICOM` in its metadata.
    keyword
        Keyword of the element as in DICOM PS3.6.
    purpose
        Purpose of the element, for the error message.

    Raises
    ------
    ValueError
        The image has no such element, or an empty element; the message names the file and the keyword.
    """
    value = dicom_of(image).get(keyword, "").strip()
    if not value:
        raise ValueError(f"{file_of(image)}: found no {keyword}, expected the DICOM element for {purpose}")
    return value


def number(image: torch.Tensor, keyword: str, purpose: str) -> float:
    """Returns a DICOM element of an image as a number; the first of several values.

    Raises
    ------
    ValueError
        The element is missing, empty, or no number; the message names the file and the keyword.
    """
    first = required(image, keyword, purpose).split("\\")[0]
    try:
        return float(first)
    except ValueError as error:
        raise ValueError(f"{file_of(image)}: {keyword}: found {first!r}, expected a number") from error
