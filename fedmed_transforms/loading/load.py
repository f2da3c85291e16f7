"""Any image file of a clinic or a picture collection to a tensor: which reader a path needs."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection, PathLike
from monai.data import ImageReader, MetaTensor
from monai.transforms import LoadImaged

from fedmed_transforms.dicom.pixels.gpu_frames import is_available
from fedmed_transforms.dicom.pixels.workers import threads
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.loading.dicom import is_dicom_path, load_dicom
from fedmed_transforms.loading.nifti import NIFTI_SUFFIXES, load_nifti
from fedmed_transforms.loading.picture_files import PICTURE_SUFFIXES, load_picture

logger = logging.getLogger(__name__)


def load_image(path: PathLike | Sequence[PathLike], device: str | torch.device = "cpu", **rules: Any) -> MetaTensor:
    """Loads an image with true values and a true affine onto a device.

    Parameters
    ----------
    path
        A DICOM file, a folder with all below it, a DICOMDIR or a zip with one DICOM series (or several, and the rule
        ``series``), a NIfTI file, a jpg, png or bmp; or a list of the DICOM files of one series.
    device
        Where the tensor is to be; what it is asked to do gives what the CPU gives.
    **rules
        What to do with a DICOM series that is no regular volume: keywords of :class:`fedmed_transforms.SeriesRules`.

    Returns
    -------
    MetaTensor
        (C, X, Y) for a picture, and for one DICOM image without a place in the patient; (C, X, Y, Z) for everything
        else, a single slice too (a file that does not say its thickness: 1 mm). float32; X counts columns. The affine
        goes from voxels to mm, RAS; ``meta`` holds what MONAI's spatial transforms, ``Invertd`` and ``SaveImaged``
        need, and of DICOM the elements in ``meta["dicom"]``.

    Raises
    ------
    ValueError
        The path is missing, holds no image, a damaged one, or a series that is no regular volume and no rule says what
        to do with it; the message names the files and what was measured.
    """
    return _load(path, torch.device(device), SeriesRules.of(rules))


def _load(source: PathLike | Sequence[PathLike], device: torch.device, rules: SeriesRules) -> MetaTensor:
    _check_device(device)
    _tell_path(device.type)
    if isinstance(source, (list, tuple)) and source:
        files = [_existing(file) for file in source]
        values, meta = load_dicom(Path(os.path.commonpath(files)), device, rules, files)
        return MetaTensor(values, meta=meta)
    path = _existing(source)
    name = path.name.lower()
    if path.is_file() and name.endswith(PICTURE_SUFFIXES):
        values, meta = load_picture(path, device)
    elif path.is_file() and name.endswith(NIFTI_SUFFIXES):
        values, meta = load_nifti(path, device)
    elif is_dicom_path(path):
        values, meta = load_dicom(path, device, rules)
    else:
        raise ValueError(
            f"{path}: expected a jpg, png, bmp, NIfTI or DICOM, found neither a suffix nor content of these"
        )
    return MetaTensor(values, meta=meta)


def _existing(source: Any) -> Path:
    if not isinstance(source, (str, Path)) or not str(source):
        raise ValueError(f"expected the path of an image, found {source!r}")
    path = Path(source)
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
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
def _tell_path(device: str) -> None:
    """Says once which way images take to a kind of device."""
    if device == "cpu":
        logger.info("images are read, decoded and scaled on the CPU by %d threads", threads())
        return
    compressed = (
        "on the device by nvImageCodec where it can" if is_available() else "on the CPU (no nvImageCodec found)"
    )
    logger.info("images go to %s as they lie in their files; compressed frames are decoded %s", device, compressed)


class LoadMedicalImaged(LoadImaged):  # type: ignore[misc]
    """Dictionary form of :func:`load_image`; a ``LoadImaged``, which servers that replace the input look for.

    Parameters
    ----------
    keys
        Entries of the data that hold paths.
    device
        Where the tensors are to be.
    allow_missing_keys
        Whether data may lack a key.
    rules
        What to do with a DICOM series that is no regular volume: keywords of :class:`fedmed_transforms.SeriesRules`.

    Raises
    ------
    ValueError
        As :func:`load_image`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        device: str | torch.device = "cpu",
        allow_missing_keys: bool = False,
        rules: Mapping[str, Any] | None = None,
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optional readers that MONAI registers and this loader does not use
            super().__init__(keys, ensure_channel_first=True, allow_missing_keys=allow_missing_keys)
        self._loader.readers = []
        self.device = torch.device(device)
        self.rules = SeriesRules.of(rules or {})

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Paths to tensors, (C, X, Y) or (C, X, Y, Z) float32; with a reader, or once one is registered, as MONAI's."""
        if reader is not None or self._loader.readers:
            loaded: dict[Any, Any] = super().__call__(data, reader)
            return loaded
        return {**data, **{key: _load(data[key], self.device, self.rules) for key in self.key_iterator(data)}}
