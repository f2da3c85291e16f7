"""Names the format of a file by its first bytes, for the message about a file whose name says something else."""

from __future__ import annotations

from pathlib import Path

from fedmed_transforms.dicom.damage import Damaged

LENGTH = 1024
"""Number of first bytes that are read."""

MAGICS = (
    (128, b"DICM", "DICOM"),  # first, as the 128 bytes before may begin like another format
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (4, b"jP  \r\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"NRRD0", "NRRD"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
    (4, b"n+2\0\r\n\x1a\n", "NIfTI"),
    (4, b"ni2\0\r\n\x1a\n", "NIfTI"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x1f\x8b", "gzip"),
)
"""Place, bytes and name of each format's mark."""

META_IMAGE_KEYS = (b"ObjectType", b"NDims")
"""Keys with which the text of a MetaImage file begins."""

ENDINGS = {
    **{"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "NRRD": ".nrrd", "MetaImage": ".mha"},
    **{"DICOM": ".dcm", "NIfTI": ".nii", "zip": ".zip"},
}
"""Ending under which a file of each format is read."""


def content_of(path: Path) -> str:
    """Returns the name of a file's format; an empty text for an unknown format or a file that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(LENGTH)
    except OSError:
        return ""
    for place, magic, name in MAGICS:
        if start[place : place + len(magic)] == magic:
            return name
    return "MetaImage" if start.lstrip().startswith(META_IMAGE_KEYS) else ""


def other_content(path: Path, expected: tuple[str, ...]) -> str:
    """Describes the content of a file whose name promises another format; an empty text if its content is as expected.

    Parameters
    ----------
    path
        The file.
    expected
        Names of the formats that the ending of the file stands for.
    """
    found = content_of(path)
    if not found or found in expected:
        return ""
    advice = f"; give the file the ending {ENDINGS[found]}" if found in ENDINGS else ""
    return f"{found} content under another format's name{advice}"


def found_text(path: Path, error: Exception, expected: tuple[str, ...]) -> str:
    """Describes a file that did not load: its content of another format, or else the error in one line.

    Parameters
    ----------
    path, expected
        As of :func:`other_content`.
    error
        Of a library, or of this package (:class:`fedmed_transforms.dicom.damage.Damaged`), which needs no name.
    """
    text = str(error).strip().split("\n")[0]
    described = text if isinstance(error, Damaged) else f"{type(error).__name__}: {text}"
    return other_content(path, expected) or described


def unnamed_content(path: Path) -> str:
    """Describes the content of a file whose name says nothing; an empty text for a format that is not read."""
    found = content_of(path)
    return f"{found} content; give the file the ending {ENDINGS[found]}" if found in ENDINGS else ""
