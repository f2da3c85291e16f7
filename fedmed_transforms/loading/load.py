"""Loads any image file of a clinic or a picture collection as a tensor, with the reader that its path needs.

A script calls :func:`load_image`; a bundle's ``Compose`` calls :class:`LoadMedicalImaged`::

    image = load_image("scan.nii.gz", device="cuda")
    image = load_image("series_folder", uneven="resample")
    image = load_image("study.zip", series={"Modality": "CT"}, localisers="drop")
    load = LoadMedicalImaged(["image", "label"], rules={"tilt": "shear"})
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from monai.config import PathLike
from monai.data import MetaTensor

from fedmed_transforms.dicom.pixels.gpu_frames import is_available
from fedmed_transforms.dicom.pixels.workers import threads
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.structures.structure_set import structure_set_file
from fedmed_transforms.image_metadata import Loaded
from fedmed_transforms.loading.dicom import is_dicom_path, load_dicom
from fedmed_transforms.loading.formats.content import other_content, unnamed_content
from fedmed_transforms.loading.formats.itk_volume import load_meta_image, load_nrrd
from fedmed_transforms.loading.formats.meta_image import META_IMAGE_SUFFIXES
from fedmed_transforms.loading.formats.nifti_header import NIFTI_SUFFIXES
from fedmed_transforms.loading.formats.nrrd import NRRD_SUFFIXES
from fedmed_transforms.loading.nifti import load_nifti
from fedmed_transforms.loading.picture_files import PICTURE_SUFFIXES, load_picture
from fedmed_transforms.loading.structures import load_structures

logger = logging.getLogger(__name__)

LOADERS = (
    (PICTURE_SUFFIXES, load_picture),
    (NIFTI_SUFFIXES, load_nifti),
    (NRRD_SUFFIXES, load_nrrd),
    (META_IMAGE_SUFFIXES, load_meta_image),
)
"""Functions that load files by the ending of their names."""


def load_image(path: PathLike | Sequence[PathLike], device: str | torch.device = "cpu", **rules: Any) -> MetaTensor:
    """Loads an image with true values and a true affine onto a device.

    The image must meet these conditions; the loader refuses every other image:

    - The device is a device of this machine.
    - The path exists and can be read; a list is not empty and names files of one series.
    - The file has the suffix or the content of a format below, and is not damaged.
    - A folder, DICOMDIR or zip holds one DICOM series, or the rule ``series`` chooses one.
    - The slices of a DICOM series have one orientation and one spacing, with no missing and no duplicate slice, or a
      rule says how to correct them.
    - A DICOM series or file holds one volume, or the rule ``volume`` chooses one of several or makes them channels.
    - The slices of a DICOM series state position, orientation and pixel spacing, or the rule ``assume_spacing`` does.
    - A NIfTI, NRRD or MetaImage file has at most four axes longer than 1, real numbers or colours as voxels, and an
      invertible affine that it states in full, or the rule ``assume_spacing`` does.
    - Voxels are finite numbers, or the rule ``nan`` gives a number in their place.
    - A picture is the only one of its file and has no transparent pixels.

    Parameters
    ----------
    path
        A DICOM file, a folder with all folders below it, a DICOMDIR, a zip, a NIfTI, NRRD or MetaImage file, a jpg,
        png, bmp or TIFF; or a list of the DICOM files of one series.
    device
        The device of the tensor; the values are the same on every device.
    **rules
        Rules for what is refused without them: keywords of :class:`fedmed_transforms.SeriesRules`.

    Returns
    -------
    MetaTensor
        (C, X, Y) for a picture, and for one DICOM image without a position in the patient; (C, X, Y, Z) for everything
        else, also for a single slice (1 mm thick if the file states no thickness). float32; X counts columns. The
        affine maps voxels to mm, RAS; ``meta`` holds the entries that MONAI's spatial transforms, ``Invertd`` and
        ``SaveImaged`` need, and for DICOM the elements in ``meta["dicom"]``.

    Raises
    ------
    ValueError
        The image does not meet a condition above; the message names the files and the measured values.

    Examples
    --------
    >>> from fedmed_transforms import load_image
    >>> from pydicom.data import get_testdata_file
    >>> image = load_image(get_testdata_file("CT_small.dcm"))
    >>> image.shape, image.meta["dicom"]["Modality"]
    (torch.Size([1, 128, 128, 1]), 'CT')
    """
    return load_source(path, torch.device(device), SeriesRules.of(rules))


def load_label(path: PathLike | Sequence[PathLike], device: str | torch.device = "cpu", **rules: Any) -> MetaTensor:
    """Loads a label file as :func:`load_image` does, with the numbers that a picture stores instead of its colours.

    A palette gives its indices, (1, X, Y), and grey of 1, 2 or 4 bits the stored numbers. The rules ``nan`` and
    ``full_scale`` have no effect.

    Raises
    ------
    ValueError
        As :func:`load_image`, or the picture has a lossy format.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from fedmed_transforms import load_label
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("P", (3, 2), 1).save(Path(folder, "label.png"))
    ...     load_label(Path(folder, "label.png")).unique()
    metatensor([1.])
    """
    return load_source(path, torch.device(device), SeriesRules.of(rules), label=True)


def load_source(
    source: PathLike | Sequence[PathLike],
    device: torch.device,
    rules: SeriesRules,
    label: bool = False,
    beside_image: bool = False,
) -> MetaTensor:
    """Loads an image or, with `label`, a label; `beside_image` is whether it is one of several inputs of a case."""
    _check_device(device)
    _log_device(device.type)
    if isinstance(source, (list, tuple)) and source:
        files = [_existing_path(file) for file in source]
        values, meta = load_dicom(Path(os.path.commonpath(files)), device, rules, files)
        return MetaTensor(values, meta=meta)
    values, meta = _load_path(_existing_path(source), device, rules, label, beside_image)
    return MetaTensor(values, meta=meta)


def _load_path(path: Path, device: torch.device, rules: SeriesRules, label: bool, beside_image: bool) -> Loaded:
    name = path.name.lower()
    load = next((loader for suffixes, loader in LOADERS if name.endswith(suffixes)), None)
    if load is not None and path.is_file():
        return load(path, device, rules, label)
    if (contours := structure_set_file(path)) is not None:
        return load_structures(path, contours, device, beside_image)
    if not is_dicom_path(path):
        found = unnamed_content(path) or "neither a suffix nor content of these"
        raise ValueError(f"{path}: expected a jpg, png, bmp, TIFF, NIfTI, NRRD, MetaImage or DICOM, found {found}")
    try:
        return load_dicom(path, device, rules)
    except ValueError as error:
        found = other_content(path, ("DICOM", "zip")) if path.is_file() else ""
        if not found:
            raise
        raise ValueError(f"{path}: expected readable DICOM, found {found}") from error


def _existing_path(source: Any) -> Path:
    if not isinstance(source, (str, Path)) or not str(source):
        raise ValueError(f"expected the path of an image, found {source!r}")
    path = Path(source)
    try:
        exists = path.exists()
    except OSError as error:  # the name is too long, or the folder may not be entered
        raise ValueError(f"{path}: expected a path that can be read, found {error.strerror}") from error
    if not exists:
        raise ValueError(f"{path}: no such file or folder")
    return path


@lru_cache
def _check_device(device: torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"device {device}: expected a device of this machine, found {reason}") from error


@lru_cache
def _log_device(device: str) -> None:
    """Logs once for each kind of device where images are decoded and scaled."""
    if device == "cpu":
        logger.info("images are read, decoded and scaled on the CPU by %d threads", threads())
        return
    compressed = (
        "on the device by nvImageCodec if possible" if is_available() else "on the CPU (no nvImageCodec found)"
    )
    logger.info("images are copied to %s as the files store them; compressed frames are decoded %s", device, compressed)
