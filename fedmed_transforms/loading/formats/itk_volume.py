"""Loads NRRD and MetaImage files, with the geometry that SimpleITK reads of their headers.

SimpleITK does not read the voxels, because it returns a file that is damaged or too short without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.image_metadata import FULL_SCALE, LPS_FROM_RAS, Loaded, metadata_of
from fedmed_transforms.loading.formats.content import other_content
from fedmed_transforms.loading.formats.meta_image import META_IMAGE_SUFFIXES, read_meta_image_header
from fedmed_transforms.loading.formats.nrrd import NRRD_SUFFIXES, read_nrrd_header
from fedmed_transforms.loading.formats.volume_header import VolumeHeader
from fedmed_transforms.loading.formats.voxel_checks import check_exact, replace_not_finite
from fedmed_transforms.loading.pictures.stored_picture import TRANSPARENT

ITK_SUFFIXES = (*NRRD_SUFFIXES, *META_IMAGE_SUFFIXES)

OPAQUE = 255


def load_nrrd(path: Path, device: torch.device, rules: SeriesRules | None = None, label: bool = False) -> Loaded:
    """Loads the values and the metadata of a NRRD file, .nrrd or .nhdr.

    Parameters
    ----------
    path
        The file of the header.
    device
        The device of the values.
    rules
        The rules ``nan`` and ``assume_spacing``.
    label
        Whether the file is a label, in which no number stands for voxels that are not finite.

    Returns
    -------
    tuple
        (C, X, Y, Z) float32, or (C, X, Y) for an image of two axes in space; one channel for each entry of another
        axis. The metadata that MONAI's transforms need, with SimpleITK's geometry as affine, mm, RAS.

    Raises
    ------
    ValueError
        The file is damaged, lacks a part of its geometry and no rule ``assume_spacing``, or holds values that float32
        does not; the message names the file.
    """
    return _load(path, device, rules or SeriesRules(), label, (read_nrrd_header, "NrrdImageIO", "NRRD"))


def load_meta_image(path: Path, device: torch.device, rules: SeriesRules | None = None, label: bool = False) -> Loaded:
    """Loads the values and the metadata of a MetaImage file, .mha or .mhd, as :func:`load_nrrd` does.

    Raises
    ------
    ValueError
        As :func:`load_nrrd`.
    """
    return _load(path, device, rules or SeriesRules(), label, (read_meta_image_header, "MetaImageIO", "MetaImage"))


def _load(
    path: Path, device: torch.device, rules: SeriesRules, label: bool,
    kind: tuple[Callable[[Path], VolumeHeader], str, str],
) -> Loaded:  # fmt: skip
    read_header, reader, name = kind
    try:
        header = read_header(path)
        _check_stated(header, rules)
        affine = LPS_FROM_RAS @ _geometry(path, reader, header, rules)
        samples = _channel_first(header)
        check_exact(samples)
        values = np.ascontiguousarray(samples, dtype=np.float32)
        replace_not_finite(values, None if label else rules.nan)
    except MemoryError:
        raise
    except Exception as error:  # SimpleITK raises RuntimeError, and quotes the file
        found = str(error) if isinstance(error, Damaged) else f"{type(error).__name__}"
        found = other_content(path, (name,)) or found
        raise ValueError(f"{path}: expected a readable {name} file, found {found}") from None
    meta = metadata_of(path, affine, values.shape[1:])
    return torch.from_numpy(values).to(device), {**meta, FULL_SCALE: float(OPAQUE)} if header.colours else meta


def _check_stated(header: VolumeHeader, rules: SeriesRules) -> None:
    """Refuses a volume whose place in the patient would be invented, unless the rule states its spacing."""
    if header.unstated and rules.assume_spacing is None:
        raise Damaged(
            f"no {', '.join(header.unstated)}, expected the geometry of the volume; the rule "
            "assume_spacing=[x, y, z] states mm where the file states none, and takes the axes as LPS from the origin"
        )


def _geometry(path: Path, reader: str, header: VolumeHeader, rules: SeriesRules) -> npt.NDArray[np.float64]:
    """Returns the affine, (4, 4), voxels to mm, LPS; of two axes the third is 1 mm along the patient's axis."""
    import SimpleITK as sitk  # 0.2 s, which only these formats need

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings quote the file
    file = sitk.ImageFileReader()
    file.SetImageIO(reader)
    file.SetFileName(str(path))
    file.ReadImageInformation()
    axes, affine, dimension = header.axes, np.eye(4), file.GetDimension()
    in_space = [length for place, length in enumerate(header.shape) if place != header.channel_axis]
    if list(file.GetSize()[:axes]) != in_space:
        raise Damaged(f"axes {file.GetSize()} by SimpleITK and {in_space} by the header, expected the same")
    whole = np.reshape(file.GetDirection(), (dimension, dimension))
    spacing = np.asarray(file.GetSpacing() if header.spaced or axes < 3 else rules.assume_spacing)[:axes]
    affine[:axes, :axes], affine[:axes, 3] = whole[:axes, :axes] * spacing, np.asarray(file.GetOrigin())[:axes]
    coupled = bool(whole[axes:, :axes].any() or whole[:axes, axes:].any())
    if coupled or not np.isfinite(affine).all() or abs(np.linalg.det(whole[:axes, :axes])) < 1e-6:
        raise Damaged("directions that cannot be inverted, expected one for each axis in space")
    return affine


def _channel_first(header: VolumeHeader) -> npt.NDArray[Any]:
    """Reads the samples, (C, X, Y[, Z])."""
    samples = header.voxels.read().reshape(header.shape[::-1]).T  # the fastest axis first
    if header.channel_axis is None:
        return samples[None]
    samples = np.moveaxis(samples, header.channel_axis, 0)
    return _without_alpha(samples) if header.colours and len(samples) == 4 else samples


def _without_alpha(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns colours (4, X, Y[, Z]) without their alpha channel, which must be opaque everywhere."""
    if bool((samples[3] != OPAQUE).any()):
        raise Damaged(TRANSPARENT)
    return samples[:3]
