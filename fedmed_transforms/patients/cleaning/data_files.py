"""Finds the files that hold only voxels, for a header in a file of its own; they have no text to clean."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from nibabel import Nifti1Pair

from fedmed_transforms.patients.files import FoundFile
from fedmed_transforms.patients.formats import nifti
from fedmed_transforms.patients.formats.header_lines import LARGEST_HEADER
from fedmed_transforms.patients.formats.known_formats import GZIP

NAMED = re.compile(rb"(?im)^[ \t]*(?:data ?file[ \t]*:|ElementDataFile[ \t]*=)[ \t]*([^\r\n]+?)[ \t]*\r?$")


def data_files(file: FoundFile) -> Iterator[tuple[Path, int | None]]:
    """Lists the files with the voxels of a header: those of a NIfTI pair, of NHDR and of MHD.

    Yields
    ------
    tuple
        The file, and the bytes that its voxels take where the header states them.
    """
    if file.content is not None or file.is_dicom(start := file.start()):
        return
    kind = file.format(start)
    if kind is not None and kind.name == "NIfTI" and file.name.lower().endswith((".hdr", ".hdr.gz")):
        header = bytes(file.opened())
        header = gzip.decompress(header) if header.startswith(GZIP) else header
        image = Path(Nifti1Pair.filespec_to_file_map(str(file.path))["image"].filename)
        yield image.resolve(), nifti.image_length(header)
    elif kind is not None and kind.name in ("NRRD", "MetaImage"):
        content = bytes(file.opened()[:LARGEST_HEADER])
        for found in NAMED.finditer(content):
            name = found[1].decode("utf-8", "replace")
            listed = content[found.end() :].decode("utf-8", "replace").split() if name.upper() == "LIST" else [name]
            yield from (((file.path.parent / it).resolve(), None) for it in listed if it.upper() != "LOCAL")


def cleaned_data_file(content: bytes, length: int | None) -> bytes:
    """Returns the voxels of a voxel file; a compressed one loses the file name that gzip stores."""
    if content.startswith(GZIP):
        return gzip.compress(gzip.decompress(content)[:length], 6, mtime=0)
    return content[:length]
