"""Which images a folder holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pydicom

from fedmed_transforms.dicom.series import DICOM_SUFFIXES, is_dicom
from fedmed_transforms.loading.nifti import NIFTI_SUFFIXES
from fedmed_transforms.loading.picture_files import PICTURE_SUFFIXES

IGNORED_NAMES = ("thumbs.db", "desktop.ini", "dicomdir")
"""Files that operating systems and media leave beside images, in lower case."""

ENDINGS = sorted((*NIFTI_SUFFIXES, *PICTURE_SUFFIXES, *DICOM_SUFFIXES), key=len, reverse=True)
"""Endings that are no part of an image's name, longer ones first."""


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
        if is_ignored(path):
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


def stem_of(path: Path) -> str:
    """The name of an image without the ending of its format; of a series' folder, the folder's name."""
    ending = next((suffix for suffix in ENDINGS if path.name.lower().endswith(suffix) and not path.is_dir()), "")
    return path.name[: len(path.name) - len(ending)]


def is_ignored(path: Path) -> bool:
    """Whether a path is hidden, left behind by a system or a medium, or the values of a NIfTI pair."""
    return path.name.startswith(".") or path.name.lower() in IGNORED_NAMES or _is_half(path)


def _is_half(path: Path) -> bool:
    """Whether a file is the values of a NIfTI pair, whose image is named by its header."""
    name = path.name
    return name.lower().endswith((".img", ".img.gz")) and any(
        path.with_name(f"{name[: name.lower().rindex('.img')]}{ending}").is_file() for ending in (".hdr", ".hdr.gz")
    )


def _is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files of one series and nothing else."""
    files = [path for path in folder.iterdir() if not is_ignored(path)]
    if not files or not all(path.is_file() and is_dicom(path) for path in files):
        return False
    return len({_series_uid(path) for path in files}) == 1


def _series_uid(file: Path) -> str:
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"], force=True)
    return str(header.get("SeriesInstanceUID", file))


def first_file(path: Path) -> Path:
    """A file itself, or the first file below a series' folder.

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
    files = [entry for entry in sorted(path.iterdir()) if entry.is_file() and not is_ignored(entry)]
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
