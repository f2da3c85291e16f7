"""Finds text in NIfTI files and writes them without it: the voxels, the affine and all numbers of the header stay."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from math import prod

import nibabel as nib

from fedmed_transforms.dicom.damage import Damaged
from fedmed_transforms.patients.formats.file_text import Content, FileText, decoded

Fields = tuple[tuple[str, int, int], ...]

FIELDS_1: Fields = (
    ("data_type", 4, 10), ("db_name", 14, 18), ("descrip", 148, 80), ("aux_file", 228, 24), ("intent_name", 328, 16),
)  # fmt: skip
FIELDS_2: Fields = (("descrip", 240, 80), ("aux_file", 320, 24), ("intent_name", 508, 16))
"""Name, offset and length of the texts of a header (nifti1.h, nifti2.h)."""

LARGEST_EXTENSIONS = 2**26
"""Bytes that the part before the voxels may hold."""

SINGLE, PAIR = (b"n+1\0", b"n+2\0"), (b"ni1\0", b"ni2\0")

PROGRAM_TEXTS = re.compile(
    r"(none|(FSL)? ?\d+\.\d+[\d.:a-f]*|FSL[\d.]+(:[0-9a-f]+)?|spm ?-? ?[\w .,/-]{0,30}|"
    r"(TE|Time|phase|mb|ph|GE|dwell|bval)=[-\d.]+(;(TE|Time|phase|mb|ph|GE|dwell|bval)=[-\d.]+)*;?|"
    r"(MGH|NIfTI|nibabel|ITK|SimpleITK|ANTs|AFNI|FreeSurfer|Matlab|MATLAB|NiftyReg|dcm2niix?)[ \d.]*|"
    r"(FreeSurfer|freesurfer)( \w{3,9} \d{1,2} \d{4})?|MGH-(Sub)?[Cc]ortical|3D-?T1|U?INT\d+|FLOAT\d+)",
    re.IGNORECASE,
)
"""Texts that programs write into descrip, aux_file and intent_name."""


def header_size(start: bytes) -> int:
    """Returns the size of a NIfTI header, 348 or 540, by its magic bytes; 0 for other content."""
    for order in "<>":
        size = struct.unpack_from(f"{order}i", start)[0] if len(start) >= 348 else 0
        magic = start[344:348] if size == 348 else start[4:8]
        if (size == 348 or size == 540) and magic in SINGLE + PAIR:
            return int(size)
    return 0


def texts(content: Content, length: int | None = None) -> Iterator[FileText]:
    """Lists the texts of the header, the extensions, and bytes after the voxels.

    Parameters
    ----------
    content
        The beginning of the file, up to the voxels.
    length
        Bytes of the whole file; None where they are unknown.
    """
    size = header_size(bytes(content[:544]))
    for name, begin, width in FIELDS_1 if size == 348 else FIELDS_2:
        if text := decoded(bytes(content[begin : begin + width]).split(b"\0")[0]):
            yield FileText(f"NIfTI {name}", text, PROGRAM_TEXTS.fullmatch(text) is not None)
        elif hidden := decoded(bytes(content[begin : begin + width])):
            yield FileText(f"NIfTI {name}", hidden)
    offset, end = _voxels(content)
    between = bytes(content[size : (offset or size) if _is_single(content) else len(content)])
    if between.strip(b"\0"):
        filled = between[4:].strip(b"\0")
        if filled or not _is_single(content):
            yield FileText("NIfTI extension", decoded(filled[:65536]))
    if _is_single(content) and offset and length is not None and length > end:
        yield FileText("bytes after the voxels of NIfTI")


def single_length(start: bytes) -> int:
    """Returns the bytes of a single file up to its last voxel, and the bytes of a pair's header with extensions."""
    return _voxels(start)[1] if _is_single(start) else LARGEST_EXTENSIONS


def image_length(header: Content) -> int:
    """Returns the bytes of the image file of a pair: up to the last voxel."""
    size = header_size(bytes(header[:544]))
    kind = nib.nifti1.Nifti1PairHeader if size == 348 else nib.nifti2.Nifti2PairHeader
    fields = kind(bytes(header[:size]), check=False)
    voxels = prod(int(side) for side in fields.get_data_shape())
    return int(max(0, float(fields["vox_offset"]))) + voxels * int(fields["bitpix"]) // 8


def _is_single(content: Content) -> bool:
    return bytes(content[344:348]) in SINGLE or bytes(content[4:8]) in SINGLE


def _voxels(content: Content) -> tuple[int, int]:
    """Returns the place of the voxels, and of the end of the voxels, in a single file."""
    size = header_size(bytes(content[:544]))
    kind = nib.Nifti1Header if size == 348 else nib.Nifti2Header
    pair = nib.nifti1.Nifti1PairHeader if size == 348 else nib.nifti2.Nifti2PairHeader
    header = (kind if _is_single(content) else pair)(bytes(content[:size]), check=False)
    stated = float(header["vox_offset"])
    offset = int(stated) if size <= stated < 2**62 else 0  # 0 where the header states a place within itself
    voxels = prod(int(side) for side in header.get_data_shape())
    return offset, offset + voxels * int(header["bitpix"]) // 8


def voxel_offset(start: bytes) -> int:
    """Returns the place of the voxels in a single file, and the size of the header in a pair."""
    return max(_voxels(start)[0], header_size(start)) if _is_single(start) else header_size(start)


def without_texts(content: bytes) -> bytes:
    """Empties the texts of a header, and drops the extensions and the bytes after the voxels.

    Raises
    ------
    Damaged
        The voxels begin within the header, or the file ends before its voxels do.
    """
    size = header_size(content[:544])
    offset, end = _voxels(content)
    header = bytearray(content[:size])
    for _, begin, width in FIELDS_1 if size == 348 else FIELDS_2:
        header[begin : begin + width] = bytes(width)
    if not _is_single(content):
        return bytes(header) + bytes(4)
    if not offset:
        raise Damaged("a NIfTI whose voxels begin within its header")
    if end > len(content):
        raise Damaged(f"{len(content)} bytes, expected {end}")
    little = struct.unpack_from("<i", content)[0] == size
    if size == 348:
        struct.pack_into("<f" if little else ">f", header, 108, 352)
    else:
        struct.pack_into("<q" if little else ">q", header, 168, 544)
    return bytes(header) + bytes(4) + content[offset:end]
