"""Loads NRRD and MetaImage files: SimpleITK reads the values and the geometry that the header states."""

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
from fedmed_transforms.loading.formats.stored_picture import opaque
from fedmed_transforms.loading.formats.volume_header import VolumeHeader
from fedmed_transforms.loading.formats.voxel_checks import check_exact, replace_not_finite

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
        values, affine = _read(path, reader, header, rules)
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


def _read(
    path: Path, reader: str, header: VolumeHeader, rules: SeriesRules
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Reads the values, channel first, and the affine, (4, 4), voxels to mm, RAS."""
    import SimpleITK as sitk  # 0.2 s, which only these formats need

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings quote the file
    file = sitk.ImageFileReader()
    file.SetImageIO(reader)
    file.SetFileName(str(path))
    image = file.Execute()
    affine = LPS_FROM_RAS @ _geometry(image, header, rules)
    samples = _channel_first(sitk.GetArrayViewFromImage(image), image, header)
    check_exact(samples)
    return np.array(samples, dtype=np.float32, order="C"), affine  # a copy: the view ends with the image


def _geometry(image: Any, header: VolumeHeader, rules: SeriesRules) -> npt.NDArray[np.float64]:
    """Returns the affine, (4, 4), voxels to mm, LPS; of two axes the third is 1 mm along the patient's axis."""
    axes, affine, dimension = header.axes, np.eye(4), image.GetDimension()
    whole = np.reshape(image.GetDirection(), (dimension, dimension))
    direction, origin = whole[:axes, :axes], np.asarray(image.GetOrigin())[:axes]
    spacing = np.asarray(image.GetSpacing() if header.spaced or axes < 3 else rules.assume_spacing)[:axes]
    affine[:axes, :axes], affine[:axes, 3] = direction * spacing, origin
    coupled = bool(whole[axes:, :axes].any() or whole[:axes, axes:].any())
    if coupled or not np.isfinite(affine).all() or abs(np.linalg.det(direction)) < 1e-6:
        raise Damaged("directions that cannot be inverted, expected one for each axis in space")
    return affine


def _channel_first(samples: npt.NDArray[Any], image: Any, header: VolumeHeader) -> npt.NDArray[Any]:
    """Returns ([T,] [Z,] Y, X[, C]) as (C, X, Y[, Z])."""
    several = image.GetNumberOfComponentsPerPixel() > 1
    extra = image.GetDimension() - header.axes
    if samples.dtype.kind not in "iuf" or extra not in (0, 1) or (several and extra):
        raise Damaged(f"voxels {samples.dtype} of shape {samples.shape}, expected numbers with one axis of channels")
    if not several and not extra:
        return samples.T[None]
    if extra:
        return samples.transpose(0, *range(header.axes, 0, -1))
    if header.colours and samples.shape[-1] == 4:
        samples = _without_alpha(samples)
    return samples.transpose(header.axes, *range(header.axes - 1, -1, -1))


def _without_alpha(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns colours ([Z,] Y, X, 4) without their alpha channel, which must be opaque everywhere."""
    return opaque(samples.reshape(-1, *samples.shape[-2:]), OPAQUE).reshape(*samples.shape[:-1], 3)
