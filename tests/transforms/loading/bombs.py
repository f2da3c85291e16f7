"""Small files that claim to be large, or inflate to be."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pydicom.data
from pydicom.uid import DeflatedExplicitVRLittleEndian

SHIPPED = Path(pydicom.data.__file__).parent / "test_files"
GIGABYTE = 2**30
PIECE = bytes(2**24)
SIDE = 30000
CLAIMED = {
    "native.dcm": ("MR_small.dcm", b"", 0),
    "rle.dcm": ("MR_small_RLE.dcm", b"", 0),
    "jpeg.dcm": ("JPGExtended.dcm", b"\xff\xc1\x00\x0b\x0c", 5),
    "jpegls.dcm": ("MR_small_jpeg_ls_lossless.dcm", b"\xff\xf7", 5),
    "jpeg2000.dcm": ("JPEG2000.dcm", b"\xff\x4f\xff\x51", 8),
}
"""A shipped file, and where in its codestream the size is said: so many bytes after these."""


def write_bombs(folder: Path) -> list[Path]:
    """Files of some kilobytes, or megabytes where they are compressed."""
    claimed = [_claiming(folder / name, *what) for name, what in CLAIMED.items()]
    sides = _sides(folder / "sides.nii")
    (folder / "sides.nii.gz").write_bytes(gzip.compress(sides.read_bytes()))
    inflating = [_deflated(folder / "deflated.dcm"), _members(folder / "members.zip")]
    return [*claimed, sides, folder / "sides.nii.gz", *inflating, *_gzipped(folder)]


def _claiming(path: Path, name: str, marker: bytes, behind: int) -> Path:
    """A shipped image of 30000 by 30000 pixels, says its header, and its codestream where it has one."""
    header = pydicom.dcmread(SHIPPED / name)
    header.Rows = header.Columns = SIDE
    if marker:
        place = header.PixelData.index(marker) + behind
        size = struct.pack(">HH", SIDE, SIDE)
        if marker.startswith(b"\xff\x4f"):
            size = struct.pack(">6L", SIDE, SIDE, 0, 0, SIDE, SIDE)
        header.PixelData = header.PixelData[:place] + size + header.PixelData[place + len(size) :]
    header.save_as(path)
    return path


def _nifti(**fields: object) -> bytes:
    header = nib.Nifti1Header(bytes(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes()[:348]))
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock)


def _sides(path: Path) -> Path:
    path.write_bytes(_nifti(dim=[4, 32767, 32767, 32767, 32767, 1, 1, 1]) + bytes(400))
    return path


def _gzipped(folder: Path) -> list[Path]:
    """Voxels, or an extension before them, that are said to go on where the file inflates to zeros and then ends."""
    voxels = _nifti(dim=[3, 2000, 2000, 2000, 1, 1, 1, 1]) + bytes(4)
    extension = _nifti(vox_offset=6.0 * GIGABYTE) + struct.pack("<Bxxxll", 1, 2**31 - 16, 6)
    for name, start in (("gzip.nii.gz", voxels), ("offset.nii.gz", extension)):
        (folder / name).write_bytes(gzip.compress(start) + gzip.compress(PIECE) * (2 * GIGABYTE // len(PIECE)))
    return [folder / "gzip.nii.gz", folder / "offset.nii.gz"]


def _head_and_zeros(header: pydicom.Dataset, zeros: int) -> bytes:
    """A file up to its pixels, and an element of pixels that is to hold so many bytes."""
    header.Rows = header.Columns = SIDE
    del header.PixelData, header.DataSetTrailingPadding
    buffer = io.BytesIO()
    header.save_as(buffer)
    return buffer.getvalue() + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<L", zeros)


def _deflated(path: Path) -> Path:
    header = pydicom.dcmread(SHIPPED / "MR_small.dcm")
    content = _head_and_zeros(header, 2 * GIGABYTE)
    meta = _end_of_meta(content)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    header.save_as(buffer)
    start = buffer.getvalue()[: _end_of_meta(buffer.getvalue())] + _block(content[meta:])
    path.write_bytes(start + _block(PIECE) * (2 * GIGABYTE // len(PIECE)) + zlib.compressobj(wbits=-15).flush())
    return path


def _end_of_meta(content: bytes) -> int:
    return 132 + 12 + int(pydicom.dcmread(io.BytesIO(content)).file_meta.FileMetaInformationGroupLength)


def _block(content: bytes) -> bytes:
    """Deflated, so that it may stand anywhere among other blocks."""
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(content) + deflater.flush(zlib.Z_FULL_FLUSH)


def _members(path: Path) -> Path:
    """Files of a zip that are too large together, though each is not."""
    start = _head_and_zeros(pydicom.dcmread(SHIPPED / "MR_small.dcm"), 2**27)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(3):
            archive.writestr(f"{number}.dcm", start + bytes(2**27))
    return path
