"""What an image brings along beside its values: its file, its affine, the DICOM elements it was read with."""

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
"""Values, channel first, and what :func:`metadata_of` says of them, as every loader of a format gives them."""

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's axes run to the patient's left and posterior, those of MONAI's affines to the right and anterior."""

DICOM = "dicom"
"""Entry of an image's metadata: DICOM elements by keyword, in DICOM's own text form: several values are separated by a
backslash, what is absent is empty. Text alone, and the same keywords for every image, so that images form batches."""

SOURCE_INSTANCES = "source_instances"
"""Entry of an image's metadata: SOPInstanceUIDs of the files that its voxels come from, separated by backslashes."""

RESAMPLED = "resampled"
"""Entry of an image's metadata: "yes" of a DICOM volume that a rule made regular, whose voxels are not its slices'."""

SOURCE_FILES = "source_files"
"""Entry of an image's metadata: paths of the DICOM files that its voxels come from, as JSON; empty of a zip."""


def metadata_of(path: Path, affine: npt.NDArray[np.float64], shape: Sequence[int]) -> dict[str, Any]:
    """What MONAI's spatial transforms, ``Invertd`` and ``SaveImaged`` need of an image whose channels come first.

    Parameters
    ----------
    path
        What it was read from.
    affine
        (4, 4), voxels to mm, RAS.
    shape
        Without channels.
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
    """The file that an image was read from, for messages; ``"image"`` where none is known."""
    return str(image.meta.get("filename_or_obj", "image")) if isinstance(image, MetaTensor) else "image"


def plain_tensor(image: torch.Tensor) -> torch.Tensor:
    """The values alone, without a copy."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def with_metadata_of(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values with the metadata of the image they were made from; plain where that image was plain."""
    return MetaTensor(values, meta=dict(image.meta)) if isinstance(image, MetaTensor) else values


def dicom_of(image: torch.Tensor) -> Mapping[str, str]:
    """The DICOM elements that an image was read with; none for an image of another format."""
    elements = image.meta.get(DICOM) if isinstance(image, MetaTensor) else None
    return elements if isinstance(elements, Mapping) else {}


def source_files(image: torch.Tensor) -> list[Path]:
    """The DICOM files that an image's voxels come from, bottom slice first; none where they are not known."""
    text = image.meta.get(SOURCE_FILES) if isinstance(image, MetaTensor) else None
    return [Path(name) for name in json.loads(text)] if text else []


def required(image: torch.Tensor, keyword: str, purpose: str) -> str:
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
    value = dicom_of(image).get(keyword, "").strip()
    if not value:
        raise ValueError(f"{file_of(image)}: found no {keyword}, expected the DICOM element for {purpose}")
    return value


def number(image: torch.Tensor, keyword: str, purpose: str) -> float:
    """One DICOM element as a number, the first of several.

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


FULL_SCALE = "full_scale"
"""Entry of an image's metadata: the largest value that its file format can hold, set by readers of pictures."""
