"""Reads the voxels of NRRD and MetaImage files: exactly as many as the header declares, with verified checksums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from fedmed_transforms.dicom.archive import LARGEST_RATIO
from fedmed_transforms.dicom.damage import Damaged

RAW, GZIP, ZLIB, HEX, TEXT = "raw", "gzip", "zlib", "hex", "text"
"""Encodings of voxels."""

GZIP_BITS, ZLIB_BITS = 31, 15
"""zlib's window bits for each kind of deflated data; both kinds have a checksum."""

GZIP_MAGIC = b"\x1f\x8b"

AT_ONCE = 2**20
"""Number of bytes that are read or inflated at once."""


@dataclass(frozen=True)
class StoredVoxels:
    """The place and the encoding of an image's voxels.

    Attributes
    ----------
    file, start
        The file, and the place of the first byte in it; -1 for voxels at the end of the file.
    encoding
        One of the encodings above.
    dtype, count
        The type of a voxel with its byte order, and the number of voxels, each channel counted.
    """

    file: Path
    start: int
    encoding: str
    dtype: np.dtype[Any]
    count: int

    def read(self) -> npt.NDArray[Any]:
        """Reads the voxels, (count,), in the order of the file.

        Raises
        ------
        ValueError
            The file holds fewer voxels or more (one pad byte is passed over), or is damaged.
        """
        size, needed = self.file.stat().st_size, self.count * self.dtype.itemsize
        start = size - needed if self.start < 0 else self.start
        if start < 0 or self.start < -1:
            raise Damaged(f"{size} bytes of voxels, expected {needed}")
        if self.encoding == RAW:
            if not needed <= size - start <= needed + 1:
                raise Damaged(f"{size - start} bytes of voxels, expected {needed}")
            return np.fromfile(self.file, self.dtype, self.count, offset=start)
        if self.encoding in (GZIP, ZLIB):
            if needed > (size - start) * LARGEST_RATIO:
                raise Damaged(f"{size - start} bytes of voxels, expected {needed} after inflating")
            return np.frombuffer(_inflate(self.file, start, needed, self.encoding == GZIP), self.dtype)
        content = self.file.read_bytes()[start:]
        if self.count > len(content):  # each number has a digit at least
            raise Damaged(f"{len(content)} characters of voxels, expected {self.count} voxels")
        return self._hexadecimal(content) if self.encoding == HEX else self._decimal(content)

    def _hexadecimal(self, content: bytes) -> npt.NDArray[Any]:
        try:
            voxels = bytes.fromhex(content.decode("ascii"))
        except ValueError:
            raise Damaged("voxels that are no hexadecimal numbers") from None
        if len(voxels) != self.count * self.dtype.itemsize:
            raise Damaged(f"{len(voxels)} bytes of voxels, expected {self.count * self.dtype.itemsize}")
        return np.frombuffer(voxels, self.dtype)

    def _decimal(self, content: bytes) -> npt.NDArray[Any]:
        parts = content.split()
        if len(parts) != self.count:
            raise Damaged(f"{len(parts)} voxels, expected {self.count}")
        convert = float if self.dtype.kind == "f" else int
        try:
            return np.array([convert(part) for part in parts], dtype=self.dtype.newbyteorder("="))
        except (ValueError, OverflowError):
            raise Damaged(f"voxels that are no numbers of the type {self.dtype.name}") from None


def _inflate(path: Path, start: int, needed: int, gzip: bool) -> bytearray:
    """Inflates exactly the bytes needed from a file, all members of gzip, to the checksum at the end.

    MetaImage's deflated voxels may be gzip, too, as MetaIO accepts both.
    """
    out, held = bytearray(), b""
    with path.open("rb") as file:
        file.seek(start)
        held = file.read(AT_ONCE)
        while held and (not out or held[:2] == GZIP_MAGIC):
            member = gzip or held[:2] == GZIP_MAGIC
            inflater: Any = isal_zlib.decompressobj(GZIP_BITS if member else ZLIB_BITS)
            while not inflater.eof and held:
                try:
                    out += inflater.decompress(held, AT_ONCE)
                except Exception:  # isal raises its own kind
                    raise Damaged("deflated voxels that are damaged") from None
                held = inflater.unconsumed_tail or (b"" if inflater.eof else file.read(AT_ONCE))
                if len(out) > needed:
                    raise Damaged(f"more than {needed} bytes of voxels, expected {needed}")
            if not inflater.eof:
                raise Damaged("deflated voxels that end too early")
            held = inflater.unused_data or file.read(AT_ONCE)
    if len(out) != needed:
        raise Damaged(f"{len(out)} bytes of voxels, expected {needed}")
    return out
