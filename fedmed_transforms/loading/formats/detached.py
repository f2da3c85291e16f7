"""Finds the voxel files that headers of NRRD (.nhdr) and MetaImage (.mhd) name: they are parts of an image."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fedmed_transforms.loading.formats.meta_image import DATA as META_IMAGE_DATA
from fedmed_transforms.loading.formats.meta_image import META_IMAGE_SUFFIXES, read_meta_image_entries
from fedmed_transforms.loading.formats.nrrd import DATA as NRRD_DATA
from fedmed_transforms.loading.formats.nrrd import NRRD_SUFFIXES, read_nrrd_fields
from fedmed_transforms.loading.formats.volume_header import data_file

VOXEL_SUFFIXES = (".raw", ".zraw", ".gz", ".bin", ".dat", ".img")
"""Endings of voxel files that programs write beside headers."""

HEADER_SUFFIXES = (".mhd", ".nhdr")


def is_detached(path: Path) -> bool:
    """Checks whether a header beside a file names the file for its voxels."""
    if not path.name.lower().endswith(VOXEL_SUFFIXES):
        return False
    try:
        return path.name in _detached_names(path.parent, path.parent.stat().st_mtime_ns)
    except OSError:
        return False


def detached_of(path: Path) -> Path | None:
    """Returns the file of an image's voxels if it is another file than the image's; None for other formats.

    Raises
    ------
    ValueError
        The header is damaged, or names a file that is not read.
    OSError
        The header cannot be read.
    """
    name = path.name.lower()
    if name.endswith(NRRD_SUFFIXES):
        fields, _ = read_nrrd_fields(path)
        stated = next((fields[field] for field in NRRD_DATA if field in fields), "")
        return data_file(path, stated) if stated else None
    if name.endswith(META_IMAGE_SUFFIXES):
        stated = read_meta_image_entries(path)[0][META_IMAGE_DATA]
        return None if stated.upper() == "LOCAL" else data_file(path, stated)
    return None


@lru_cache(maxsize=64)
def _detached_names(folder: Path, changed: int) -> frozenset[str]:
    """Returns the names of the voxel files that the headers of a folder name, until the folder changes."""
    names = set()
    for header in folder.iterdir():
        if header.name.lower().endswith(HEADER_SUFFIXES) and header.is_file():
            try:
                named = detached_of(header)
            except (OSError, ValueError):  # its own loading names the damage
                continue
            names.add(named.name if named is not None else header.name)
    return frozenset(names)
