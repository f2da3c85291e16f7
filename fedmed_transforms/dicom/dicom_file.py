"""Reads one DICOM file up to its pixels: the header, and where the pixels lie. It decodes nothing."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from fedmed_transforms.dicom.damage import Damaged, drop_torn, error_text
from fedmed_transforms.dicom.header_index import PREAMBLE, UNPARSED, index_header, tags_of
from fedmed_transforms.dicom.headers.decimal_commas import check_or_mend

Source: TypeAlias = Path | bytes
"""A file's path, or its content."""

LARGEST_DEFLATED = 2**29
"""Bytes that a deflated data set may inflate to; twice as many are held for a moment."""

NEEDED = (
    *("SOPClassUID", "SeriesInstanceUID", "Modality", "ImageType", "InstanceNumber", "NumberOfFrames", "Rows"),
    *("Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SpacingBetweenSlices", "SliceThickness", "RescaleSlope", "RescaleIntercept", "DoseGridScaling"),
    *("GridFrameOffsetVector", "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "DirectoryRecordSequence"),
)
"""Elements without which an image would be misunderstood; an error in one of them is raised when the file is read."""

DESCRIPTIONS = (
    *("StudyInstanceUID", "FrameOfReferenceUID", "Manufacturer", "WindowCenter", "WindowWidth", "RescaleType"),
    *("GantryDetectorTilt", "Units", "CorrectedImage", "DecayCorrection", "SeriesDate", "SeriesTime", "SeriesNumber"),
    *("AcquisitionDate", "AcquisitionTime", "SUVType", "PatientWeight", "PatientSize", "PatientSex"),
)
"""Elements that only transforms read; a damaged one is treated as absent."""

FOR_PIXELS = (
    *("SOPInstanceUID", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
    *("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
)

PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber")
"""Elements that only tell whether the files of a series are of one patient and one request."""

FOR_FRAMES = ("FrameIncrementPointer", "FrameTime", "FrameTimeVector", "SliceVector", "DetectorInformationSequence")
"""Elements that say how frames follow each other, and where those of a nuclear image lie."""

SIEMENS_GRID, UNITED_IMAGING_GRID = (0x00190010, 0x0019100A), (0x00650010, 0x00651050)
"""Private elements, in their usual places: the creator, and the number of slices in a picture."""

ALWAYS = tags_of([*NEEDED, *DESCRIPTIONS, *FOR_PIXELS, *FOR_FRAMES, *PATIENT])
ALWAYS |= {*SIEMENS_GRID, *UNITED_IMAGING_GRID, *UNPARSED}
"""The tags that are read from every header."""

HEADER_PEEK = 2**15
"""Bytes in which a header is looked for at first."""

PIXEL_KEYWORDS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
FILE_META_PEEK = 4096


@dataclass(frozen=True, eq=False)
class DicomFile:
    """A DICOM file, read up to its pixels.

    Attributes
    ----------
    name
        Its path, or archive and member, for messages.
    header
        All elements before the pixels.
    source
        Its path, or its content.
    keyword, value_representation
        Element that holds the pixels, empty if there are none; OB or OW, which matters for bytes of the other order.
    offset, length
        Where the pixels' value begins, in bytes, and its stated length, which may be ``UNDEFINED_LENGTH``.
    held
        How many bytes there are from there to the end of the value, or of the file.
    """

    name: str
    header: Dataset
    source: Source
    keyword: str
    value_representation: str
    offset: int
    length: int
    held: int

    @cached_property
    def transfer_syntax(self) -> UID:
        """The encoding of the pixels; taken from the header's own encoding where the file does not state it."""
        named = self.header.file_meta.get("TransferSyntaxUID")
        if named:
            return UID(named)
        implicit, little = self.header.original_encoding
        return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian

    @cached_property
    def frames(self) -> int:
        """Number of frames, at least 1."""
        return frame_count(self.header)

    def open(self) -> BinaryIO:
        """Opens the file at the first byte of the pixels' value."""
        file: BinaryIO = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")
        file.seek(self.offset)
        return file


def read_dicom_file(source: Source, name: str, wanted: frozenset[int] | None = None) -> DicomFile:
    """Reads a file up to its pixels.

    Parameters
    ----------
    source
        Path or content.
    name
        The file's name in messages.
    wanted
        Tags to read, which is faster; the header holds at least these and those that the pixels need. None for all.

    Raises
    ------
    ValueError
        It is no DICOM file, or damaged before its pixels; the message names it.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            start = file.read(HEADER_PEEK)
            if DeflatedExplicitVRLittleEndian.encode() in start[:FILE_META_PEEK]:
                source = _inflated(start + file.read())
                file = io.BytesIO(source)
            header = _parse(file, start, name, wanted)
            if "SOPClassUID" not in header and "Rows" not in header and "DirectoryRecordSequence" not in header:
                raise Damaged("neither a SOP class nor an image in it")
            pixels = _find_pixels(file, header)
        if pixels[0] or "DirectoryRecordSequence" in header:
            check_or_mend(header, NEEDED)
            drop_torn(header, DESCRIPTIONS)
    except Exception as error:  # the parser raises a dozen kinds; the cause is the file
        raise ValueError(f"{name}: expected a DICOM file, found {error_text(error)}") from error
    return DicomFile(name, header, source, *pixels)


def _parse(file: BinaryIO, start: bytes, name: str, wanted: frozenset[int] | None) -> Dataset:
    """Reads the header, with pydicom where the index is not enough, and moves the file to the pixels' element.
    """
    found = index_header(start, wanted | ALWAYS) if wanted is not None else None
    if found is not None and not str(found[0].get("PhotometricInterpretation", "PALETTE")).startswith("PALETTE"):
        file.seek(found[1])
        return found[0]
    file.seek(0)
    header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    header.filename = name
    return header


def text_of(header: Dataset, keyword: str) -> str:
    """Reads an element in DICOM's text form, values separated by backslashes; empty where absent or damaged.
    """
    try:
        value = header.get(keyword)
    except Exception:  # a damaged element, of those without which an image is still an image
        return ""
    if value is None or isinstance(value, pydicom.Sequence):
        return ""
    return "\\".join(str(part) for part in value) if isinstance(value, pydicom.multival.MultiValue) else str(value)


def _find_pixels(file: BinaryIO, header: Dataset) -> tuple[str, str, int, int, int]:
    """Reads the head of the pixel element, where the parser stopped (PS3.5, 7.1)."""
    order = "<" if header.original_encoding[1] else ">"
    start = file.read(8)
    if len(start) < 8:
        return "", "", 0, 0, 0
    group, element = struct.unpack(order + "HH", start[:4])
    keyword = PIXEL_KEYWORDS.get(group << 16 | element, "")
    if not keyword:
        return "", "", 0, 0, 0
    # from the bytes, not from the transfer syntax, which some files contradict; an odd length would spell no such name
    explicit = start[4:8] in (b"OB\0\0", b"OW\0\0", b"OF\0\0", b"OD\0\0", b"UN\0\0")
    representation = "OB" if start[4:6] == b"OB" else "OW"
    length = struct.unpack(order + "L", file.read(4) if explicit else start[4:])[0]
    offset = file.tell()
    return keyword, representation, offset, length, min(length, file.seek(0, io.SEEK_END) - offset)


def _inflated(content: bytes) -> bytes:
    """Inflates the data set of a deflated file; other content stays as it is.

    The parser would inflate without a limit.
    """
    meta = _file_meta(content)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return content
    begin = PREAMBLE + 12 + int(meta.FileMetaInformationGroupLength)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(content[begin:], LARGEST_DEFLATED)
    if inflater.unconsumed_tail:
        raise Damaged(f"a deflated data set of more than {LARGEST_DEFLATED} bytes")
    if not inflater.eof:
        raise Damaged("a deflated data set that ends too early")
    return _explicit(content[:PREAMBLE], data, meta)


def _explicit(preamble: bytes, data: bytes, meta: Any) -> bytes:
    """Writes the inflated data set as a file of its own."""
    buffer = io.BytesIO()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer.write(preamble)
    pydicom.filewriter.write_file_meta_info(buffer, meta, enforce_standard=False)
    return buffer.getvalue() + data


def _file_meta(content: bytes) -> Any:
    file = io.BytesIO(content[:FILE_META_PEEK])
    file.seek(PREAMBLE)
    return read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)


def frame_count(header: Dataset) -> int:
    """Counts the frames of an image by its header, at least 1."""
    return max(1, int(header.get("NumberOfFrames") or 1))


def samples_of(file: DicomFile) -> int:
    """Counts the samples of a pixel: 1, or 3 for colours."""
    return int(file.header.get("SamplesPerPixel") or 1)


def is_coloured(file: DicomFile) -> bool:
    """Checks whether a frame decodes to red, green and blue."""
    return samples_of(file) == 3 or file.header.get("PhotometricInterpretation") == "PALETTE COLOR"
