"""Finds the images of a folder: files, and folders that hold one DICOM series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from fedmed_transforms.dicom.dicom_file import frame_count
from fedmed_transforms.dicom.folder.passed_over import accompanying_series
from fedmed_transforms.dicom.series import DICOM_SUFFIXES, is_dicom
from fedmed_transforms.loading.formats.detached import detached_of, is_detached
from fedmed_transforms.loading.formats.itk_volume import ITK_SUFFIXES
from fedmed_transforms.loading.formats.nifti_header import NIFTI_SUFFIXES, SINGLE_SUFFIXES, file_of_pair
from fedmed_transforms.loading.picture_files import PICTURE_SUFFIXES

IGNORED_NAMES = ("thumbs.db", "desktop.ini", "dicomdir")
"""Names of files that operating systems and media leave beside images, in lower case."""

IMAGE_SUFFIXES = (*PICTURE_SUFFIXES, *NIFTI_SUFFIXES, *ITK_SUFFIXES)
"""Endings of files that are images by their names; DICOM is known by its content."""

IMAGES = "a jpg, png, TIFF, NIfTI, NRRD, MetaImage or DICOM"
"""The formats of images, for error messages."""

SEGMENTATION_SUFFIX = ".seg.nrrd"
"""Ending that 3D Slicer gives to segmentations."""

ENDINGS = sorted((*IMAGE_SUFFIXES, *DICOM_SUFFIXES, SEGMENTATION_SUFFIX), key=len, reverse=True)
"""File endings that are no part of an image's name, longer endings first."""


def list_images(folder: Path) -> list[Path]:
    """Lists the images in a folder by name: files, and subfolders that hold a DICOM series.

    Hidden files and files that operating systems leave behind are skipped.

    Raises
    ------
    ValueError
        The folder holds a file that is no image; the message names the file.
    """
    images = []
    for path in sorted(folder.iterdir()):
        if is_ignored(path):
            continue
        if not path.exists():
            raise ValueError(f"{path}: expected an image, found a broken link")
        if not (is_image(path) if path.is_file() else _is_series(path)):
            raise ValueError(f"{path}: expected {IMAGES} image, or a folder with one DICOM series")
        images.append(path)
    return images


def is_image(path: Path) -> bool:
    """Checks whether a file is an image by its suffix, or a DICOM file by its content."""
    return path.name.lower().endswith(IMAGE_SUFFIXES) or is_dicom(path)


def files_of(path: Path) -> list[Path]:
    """Lists the files that hold an image: the path itself, and the other file of a pair of header and voxels."""
    name = path.name.lower()
    if not path.is_file():
        return [path]
    if name.endswith(NIFTI_SUFFIXES) and not name.endswith(SINGLE_SUFFIXES):
        found = {file_of_pair(path, part) for part in ("header", "image")}
        return sorted(file for file in found if file.is_file()) or [path]
    try:
        voxels = detached_of(path)
    except (OSError, ValueError):  # its loading names the damage
        voxels = None
    return [path] if voxels is None else [path, voxels]


def stem_of(path: Path) -> str:
    """Returns the name of an image without the ending of its format; for a series, the name of its folder."""
    ending = next((suffix for suffix in ENDINGS if path.name.lower().endswith(suffix) and not path.is_dir()), "")
    return path.name[: len(path.name) - len(ending)]


def is_ignored(path: Path) -> bool:
    """Checks whether a path is hidden, left behind by a system or a medium, or the voxel file of a header."""
    ignored = path.name.startswith(".") or path.name.lower() in IGNORED_NAMES
    return ignored or _is_voxel_file(path) or is_detached(path)


def _is_voxel_file(path: Path) -> bool:
    """Checks whether a file holds the voxels of a NIfTI pair; the header file stands for the image."""
    name = path.name
    return name.lower().endswith((".img", ".img.gz")) and any(
        path.with_name(f"{name[: name.lower().rindex('.img')]}{ending}").is_file() for ending in (".hdr", ".hdr.gz")
    )


def _is_series(folder: Path) -> bool:
    """Checks whether a folder holds DICOM files of one series, and besides only what accompanies it.

    A single image is a series only where nothing lies beside it: else each file may be an image of its own.
    """
    files = [path for path in folder.iterdir() if not is_ignored(path)]
    if not files or not all(path.is_file() and is_dicom(path) for path in files):
        return False
    groups: dict[str, list[Dataset]] = {}
    for path in files:
        header = _read_header(path)
        groups.setdefault(str(header.get("SeriesInstanceUID", path)), []).append(header)
    if len(groups) == 1:
        return True
    images = {uid: headers for uid, headers in groups.items() if any(header.get("Rows") for header in headers)}
    left = [images[uid] for uid in images.keys() - accompanying_series(images).keys()]
    return len(left) == 1 and (len(left[0]) > 1 or frame_count(left[0][0]) > 1)


def _read_header(file: Path) -> Dataset:
    """Reads the elements by which a series is told from what accompanies it."""
    wanted = ["SeriesInstanceUID", "SOPClassUID", "ImageType", "Rows", "NumberOfFrames"]
    return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=wanted, force=True)


def _series_uid(file: Path) -> str:
    return str(_read_header(file).get("SeriesInstanceUID", file))


def first_file(path: Path) -> Path:
    """Returns a file itself, or the first file below the folder of a series.

    Raises
    ------
    ValueError
        The folder holds no file.
    """
    if path.is_file():
        return path
    files = [file for file in path.rglob("*") if file.is_file() and not is_ignored(file)]
    if not files:
        raise ValueError(f"{path}: expected an image or a folder with one DICOM series, found no file")
    return min(files)


def find_images(source: str | Sequence[str]) -> list[dict[str, str]]:
    """Finds the images of a file, of a list of files, or of a folder with all folders below it.

    Parameters
    ----------
    source
        The paths. In a folder, several DICOM files of one series are one image; every other file is one image.

    Returns
    -------
    list
        ``{"image": path, "path": path}`` for each image: ``image`` is loaded, ``path`` stays for the table of results.

    Raises
    ------
    ValueError
        A path does not exist, a file is no image, or no image was found; the message names the path.
    """
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(path) for path in source]
    images = [image for path in paths for image in _images_below(path)]
    if not images:
        raise ValueError(f"{source}: found no image, expected {IMAGES}")
    return [{"image": str(image), "path": str(image)} for image in images]


def _images_below(path: Path) -> list[Path]:
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_file():
        return [path]
    if _is_series(path):
        return [path]
    folders = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    files = [entry for entry in sorted(path.iterdir()) if entry.is_file() and not is_ignored(entry)]
    unknown = [file for file in files if not is_image(file)]
    if unknown:
        raise ValueError(f"{unknown[0]}: expected {IMAGES} image")
    _check_series(path, [file for file in files if is_dicom(file)])
    return files + [image for folder in folders for image in _images_below(folder)]


def _check_series(folder: Path, files: list[Path]) -> None:
    """Refuses a series that lies among other images: every slice would count as an image."""
    slices = Counter(_series_uid(file) for file in files)
    several = {uid: count for uid, count in slices.items() if count > 1}
    if several:
        found = ", ".join(f"{uid} ({count} files)" for uid, count in several.items())
        raise ValueError(
            f"{folder}: found the DICOM series {found} among other images, expected a folder for each series"
        )
