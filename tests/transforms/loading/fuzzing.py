"""Damaged images of each kind; the same kind and number give the same file."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pydicom.data
from PIL import Image
from pydicom import uid

SHIPPED = Path(pydicom.data.__file__).parent / "test_files"
DICOM = {
    "native": ("MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "SC_rgb_small_odd.dcm", "rtdose.dcm"),
    "rle": ("MR_small_RLE.dcm", "rtdose_rle.dcm", "SC_rgb_rle_2frame.dcm"),
    "jpeg": ("SC_rgb_small_odd_jpeg.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm"),
    "jpegls": ("MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_16.dcm", "SC_rgb_jls_lossy_line.dcm"),
    "jpeg2000": ("MR_small_jp2klossless.dcm", "JPEG2000.dcm", "SC_rgb_gdcm_KY.dcm"),
    "deflated": ("image_dfl.dcm",),
}
KINDS = (*DICOM, "nii", "nii.gz", "png", "jpg", "bmp", "zip", "dicomdir")
HUGE = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SYNTAXES = [value for name, value in vars(uid).items() if name.startswith(("JPEG", "HTJ2K", "RLE", "Expl", "Impl"))]
ELEMENTS: dict[str, tuple[object, ...]] = {
    "Rows": (0, 1, 65535),
    "Columns": (0, 1, 65535),
    "NumberOfFrames": (0, -1, 2, 2**31 - 1),
    "BitsAllocated": (0, 1, 12, 16, 32, 64),
    "BitsStored": (0, 1, 9, 17),
    "HighBit": (0, 8, 40),
    "SamplesPerPixel": (0, 2, 3, 65535),
    "PhotometricInterpretation": ("MONOCHROME1", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "?"),
    "PlanarConfiguration": (0, 1, 2),
    "PixelSpacing": ([0, 0], [1e30, 1e-30]),
    "ImageOrientationPatient": ([0] * 6, [1, 0, 0, 1, 0, 0]),
    "RescaleSlope": ("0", "1e308"),
}  # fmt: skip


def damage(content: bytes, at: random.Random, first: int = 0, last: int | None = None) -> bytes:
    """Cuts, bits turned, bytes lost, doubled or put in, and lengths that are absurd, between two places."""
    last = min(len(content), last or len(content))
    place = at.randrange(min(first, last - 1), last) if last else 0
    huge = at.choice(HUGE)
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: content[:place],
        lambda: _turned(content, [(place, at.randrange(8))]),
        lambda: _turned(content, [(at.randrange(min(first, last - 1), last), at.randrange(8)) for _ in range(8)]),
        lambda: content[:place] + (huge & 0xFFFF).to_bytes(2, "little") + content[place + 2 :],
        lambda: content[:place] + huge.to_bytes(4, at.choice(("little", "big"))) + content[place + 4 :],
        lambda: content[:place] + content[place + at.choice((1, 4, 100)) :],
        lambda: content[: place + 64] + content[place:],
        lambda: content[:place] + at.randbytes(16) + content[place + at.choice((0, 16)) :],
    )
    return at.choice(changes)() if last else content


def _turned(content: bytes, bits: list[tuple[int, int]]) -> bytes:
    found = bytearray(content)
    for place, bit in bits:
        found[place] ^= 1 << bit
    return bytes(found)


@lru_cache
def shipped(name: str) -> tuple[bytes, int]:
    """A file, and where its pixels begin."""
    content = (SHIPPED / name).read_bytes()
    return content, max(400, content.rfind(b"\xe0\x7f\x10\x00"))


def damaged_dicom(kind: str, at: random.Random) -> bytes:
    content, pixels = shipped(at.choice(DICOM[kind]))
    where = at.randrange(4)
    if where == 0:
        return damage(content, at, 132, pixels + 12)
    if where == 1:
        return damage(content, at, pixels, pixels + 600)
    if where == 2:
        return damage(damage(content, at, 132), at, 132)
    return contradicted(content, at)


def contradicted(content: bytes, at: random.Random) -> bytes:
    """A file with an element, or its transfer syntax, set to what the rest contradicts."""
    header = pydicom.dcmread(io.BytesIO(content))
    for keyword in at.sample(sorted(ELEMENTS), at.choice((1, 2))):
        setattr(header, keyword, at.choice(ELEMENTS[keyword]))
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, header)
    syntax = str(header.file_meta.TransferSyntaxUID).encode()
    other = str(at.choice(SYNTAXES)).encode()
    if at.random() < 0.3 and len(other) <= len(syntax) + len(syntax) % 2:
        return buffer.getvalue().replace(syntax, other.ljust(len(syntax), b"\0"), 1)
    return buffer.getvalue()


@lru_cache
def volume(number: int) -> bytes:
    kind = (nib.Nifti1Image, nib.Nifti2Image)[number % 2]
    image = kind(np.arange(120).reshape(4, 5, 6).astype(("<i2", ">f4", "<f8")[number % 3]), np.diag([1.0, 2, 3, 1]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"of no meaning"))
    return bytes(image.to_bytes())


def _damaged_in_gzip(content: bytes, at: random.Random) -> bytes:
    return gzip.compress(damage(content, at, 0, 700))


def _damaged_gzip(content: bytes, at: random.Random) -> bytes:
    return damage(gzip.compress(content), at)


@lru_cache
def picture(form: str, mode: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, form)
    return buffer.getvalue()


def zipped(at: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", at.choice((0, 8, 12, 14))) as archive:
        archive.writestr("a.dcm", damaged_dicom("native", at) if at.random() < 0.3 else shipped("MR_small.dcm")[0])
    content = buffer.getvalue()
    return damage(content, at) if at.random() < 0.4 else damage(content, at, len(content) - 150)


def directory(at: random.Random, folder: Path) -> Path:
    if not (folder / "DICOMDIR").exists():
        shutil.copytree(SHIPPED / "dicomdirtests", folder, dirs_exist_ok=True)
    content = (SHIPPED / "dicomdirtests" / at.choice(("DICOMDIR", "DICOMDIR-implicit"))).read_bytes()
    (folder / "DICOMDIR").write_bytes(damage(content, at, 132))
    return folder / "DICOMDIR"


def make(kind: str, at: random.Random, folder: Path) -> Path:
    """Writes a damaged file of a kind into a folder; returns its path."""
    if kind == "dicomdir":
        return directory(at, folder)
    makers: dict[str, Callable[[], bytes]] = {
        "nii": lambda: damage(volume(at.randrange(6)), at, 0, at.choice((352, 700, None))),
        "nii.gz": lambda: at.choice((_damaged_in_gzip, _damaged_gzip))(volume(at.randrange(6)), at),
        "png": lambda: damage(picture("PNG", at.choice(("L", "RGB", "P", "1"))), at, 0, at.choice((60, None))),
        "jpg": lambda: damage(picture("JPEG", at.choice(("L", "RGB", "CMYK"))), at, 0, at.choice((300, None))),
        "bmp": lambda: damage(picture("BMP", at.choice(("L", "RGB", "1"))), at, 0, at.choice((60, None))),
        "zip": lambda: zipped(at),
    }
    path = folder / (f"f.{kind}" if kind in makers else "f.dcm")
    path.write_bytes(makers[kind]() if kind in makers else damaged_dicom(kind, at))
    return path
