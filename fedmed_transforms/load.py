"""Files of a clinic and of picture collections to tensors: which reader a path needs, and errors that name the path."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from monai.config import KeysCollection
from monai.data import ImageReader, NibabelReader, PILReader, PydicomReader
from monai.transforms import LoadImaged
from monai.utils.enums import MetaKeys
from PIL import Image, ImageOps
from pydicom.pixels import apply_color_lut

from fedmed_transforms.intensity import FULL_SCALE

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
IGNORED_NAMES = ("thumbs.db", "desktop.ini", "dicomdir")
"""Files that operating systems and media leave beside images, in lower case."""

DICOM_PREFIX_LENGTH = 128


class PictureReader(PILReader):  # type: ignore[misc]
    """Reads jpg, png and bmp as they look: turned as their EXIF entry says, palettes and alpha resolved to colours.

    The array's axes are (x, y), as those of MONAI's other readers. The metadata's ``full_scale`` holds the largest
    value of the format: 255, or 65535 for 16-bit greyscale.
    """

    def __init__(self) -> None:
        super().__init__(converter=_as_it_looks)

    def _get_meta_dict(self, img: Image.Image) -> dict[str, Any]:
        meta: dict[str, Any] = super()._get_meta_dict(img)
        return {**meta, FULL_SCALE: 65535.0 if img.mode.startswith("I") else 255.0}


def _as_it_looks(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB") or image.mode.startswith("I"):
        return image
    return image.convert("L" if image.mode in ("1", "LA") else "RGB")


class DicomReader(PydicomReader):  # type: ignore[misc]
    """Reads a DICOM file or series as a viewer shows it: palettes as colours, MONOCHROME1 with its sign turned.

    Colours become channels, and their largest value is the metadata's ``full_scale``, as for pictures.

    Raises
    ------
    ValueError
        A file holds several frames.
    """

    def _get_array_data(self, img: pydicom.Dataset, filename: str) -> npt.NDArray[Any]:
        frames = int(img.get("NumberOfFrames") or 1)
        if frames > 1:
            raise ValueError(f"{frames} frames in one file; a series is a folder with one file a slice")
        values: npt.NDArray[Any] = super()._get_array_data(img, filename)
        if img.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(img.pixel_array, img)
            return (values / np.iinfo(values.dtype).max).astype(np.float32)
        if img.get("SamplesPerPixel", 1) == 3:
            return (values / (2.0**img.BitsStored - 1)).astype(np.float32)
        return -values.astype(np.float32) if img.PhotometricInterpretation == "MONOCHROME1" else values

    def get_data(self, data: pydicom.Dataset | list[pydicom.Dataset]) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """The array, (X, Y) or (X, Y, Z) with three channels at position 2 if it is coloured, and its metadata."""
        array, meta = super().get_data(data)
        first = data[0] if isinstance(data, list) else data
        if first.get("SamplesPerPixel", 1) == 3 or first.get("PhotometricInterpretation") == "PALETTE COLOR":
            shape = array.shape[:2] + array.shape[3:]
            meta.update({MetaKeys.ORIGINAL_CHANNEL_DIM: 2, MetaKeys.SPATIAL_SHAPE: shape, FULL_SCALE: 1.0})
        return array, meta


class NiftiReader(NibabelReader):  # type: ignore[misc]
    """Reads a NIfTI file; one with two axes becomes a volume of one slice, as only volumes are turned upright."""

    def get_data(self, img: Any) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """The array, (X, Y, Z) or with channels last, and its metadata."""
        array, meta = super().get_data(img)
        if array.ndim == 2:
            array = array[:, :, None]
            meta[MetaKeys.SPATIAL_SHAPE] = np.asarray(array.shape)
        return array, meta


class LoadMedicalImaged(LoadImaged):  # type: ignore[misc]
    """Loads jpg, png, bmp, NIfTI, a DICOM file or a folder with one DICOM series, channel first, as MetaTensor.

    A subclass of MONAI's ``LoadImaged``, so that servers which replace the loader's input find it.

    Parameters
    ----------
    keys
        Entries of the data that hold paths.

    Raises
    ------
    ValueError
        A file is missing or does not decode; the message names it.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optional readers that MONAI registers and this loader does not use
            super().__init__(keys, ensure_channel_first=True, allow_missing_keys=allow_missing_keys)
        self._loader.readers = [DicomReader(), NiftiReader(), PictureReader()]

    def __call__(self, data: Mapping[Any, Any], reader: ImageReader | None = None) -> dict[Any, Any]:
        """Paths to (C, X, Y) or (C, X, Y, Z) float32 tensors with RAS affine."""
        try:
            loaded: dict[Any, Any] = super().__call__(data, reader)
            return loaded
        except Exception as error:
            paths = ", ".join(str(data[key]) for key in self.key_iterator(data))
            raise ValueError(f"{paths}: expected a readable jpg, png, NIfTI or DICOM, found: {_said(error)}") from error


def _said(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def list_images(folder: Path) -> list[Path]:
    """The images in a folder, in order of their names: files, and subfolders that hold a DICOM series.

    Hidden files and what operating systems leave behind are passed over.

    Raises
    ------
    ValueError
        The folder holds a file that is no image; the message names it.
    """
    images = []
    for path in sorted(folder.iterdir()):
        if _is_ignored(path):
            continue
        if not path.exists():
            raise ValueError(f"{path}: expected an image, found a link to nothing")
        if not (is_image(path) if path.is_file() else _is_series(path)):
            raise ValueError(f"{path}: expected a jpg, png, NIfTI or DICOM image, or a folder with one DICOM series")
        images.append(path)
    return images


def is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, or a DICOM file by its content."""
    return path.name.lower().endswith(PICTURE_SUFFIXES + NIFTI_SUFFIXES) or is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its suffix or its magic bytes."""
    if path.name.lower().endswith(DICOM_SUFFIXES):
        return True
    with path.open("rb") as file:
        return file.read(DICOM_PREFIX_LENGTH + 4)[DICOM_PREFIX_LENGTH:] == b"DICM"


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in IGNORED_NAMES


def _is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files of one series and nothing else."""
    files = [path for path in folder.iterdir() if not _is_ignored(path)]
    if not files or not all(path.is_file() and is_dicom(path) for path in files):
        return False
    return len({_series_uid(path) for path in files}) == 1


def _series_uid(file: Path) -> str:
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"], force=True)
    return str(header.get("SeriesInstanceUID", file))


def first_file(path: Path) -> Path:
    """A file itself, or the first file of a series' folder."""
    return path if path.is_file() else min(file for file in path.iterdir() if file.is_file() and not _is_ignored(file))


def find_images(source: str | Sequence[str]) -> list[dict[str, str]]:
    """The images of a file, a list of files, or a folder with all that is below it.

    Parameters
    ----------
    source
        Paths. In a folder, several DICOM files of one series are one image; other files are an image each.

    Returns
    -------
    list
        ``{"image": path, "path": path}`` an image: the first is loaded, the second stays for the table of results.

    Raises
    ------
    ValueError
        A path does not exist, a file is no image, or there is none; the message names it.
    """
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(path) for path in source]
    images = [image for path in paths for image in _below(path)]
    if not images:
        raise ValueError(f"{source}: found no image, expected jpg, png, NIfTI or DICOM")
    return [{"image": str(image), "path": str(image)} for image in images]


def _below(path: Path) -> list[Path]:
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_file():
        return [path]
    if _is_series(path):
        return [path]
    folders = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    files = [entry for entry in sorted(path.iterdir()) if entry.is_file() and not _is_ignored(entry)]
    strange = [file for file in files if not is_image(file)]
    if strange:
        raise ValueError(f"{strange[0]}: expected a jpg, png, NIfTI or DICOM image")
    _check_series(path, [file for file in files if is_dicom(file)])
    return files + [image for folder in folders for image in _below(folder)]


def _check_series(folder: Path, files: list[Path]) -> None:
    """Refuses a series that lies among other images: its slices would be taken for an image each."""
    slices = Counter(_series_uid(file) for file in files)
    several = {uid: count for uid, count in slices.items() if count > 1}
    if several:
        found = ", ".join(f"{uid} ({count} files)" for uid, count in several.items())
        raise ValueError(
            f"{folder}: found the DICOM series {found} among other images, expected a folder for each series"
        )
