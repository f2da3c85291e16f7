"""Reads frames of a DICOM file: native bytes as they lie in it, compressed ones through their decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from fedmed_transforms.dicom.damage import decoder_error_text, safe_code
from fedmed_transforms.dicom.dicom_file import DicomFile, samples_of
from fedmed_transforms.dicom.header_index import UNDEFINED_LENGTH
from fedmed_transforms.dicom.pixels.codestream import Codestream, has_second_frame, read_codestream, without_container
from fedmed_transforms.dicom.pixels.pixel_format import photometric_of

COMPRESSION = 2**12
"""Samples that a byte of a frame of more than ``LARGEST_BLANK`` samples may stand for."""

LARGEST_BLANK = 2**24
"""Samples that a frame may decode to however short it is, as a blank one is short."""

RLE_RATIO = 64
"""Run-length coding of PS3.5, G cannot expand more than this: two bytes to 128."""

PARALLEL: dict[UID, Callable[[bytes], npt.NDArray[Any]]] = {
    JPEGLSLossless: imagecodecs.jpegls_decode,
    JPEGLSNearLossless: imagecodecs.jpegls_decode,
    JPEGExtended12Bit: imagecodecs.jpeg8_decode,
    JPEG2000: imagecodecs.jpeg2k_decode,
    JPEG2000Lossless: imagecodecs.jpeg2k_decode,
}
"""Decoders of greyscale frames that let other threads work meanwhile; pydicom's decode everything else."""

MODULE = (
    *("SamplesPerPixel", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    "PixelRepresentation",
)
"""The elements that decoders need (PS3.3, C.7.6.3)."""

Words: TypeAlias = npt.NDArray[Any]


def is_native(file: DicomFile) -> bool:
    """Checks whether pixels are words that can be read as they lie: uncompressed, one sample, whole bytes.
    """
    header = file.header
    allocated = header.get("BitsAllocated")
    if file.keyword != "PixelData":
        return True
    swapped_bytes = file.transfer_syntax == ExplicitVRBigEndian and allocated == 8  # may lie in words of two
    return (
        not file.transfer_syntax.is_encapsulated
        and samples_of(file) == 1
        and allocated in (8, 16, 32)
        and header.get("PhotometricInterpretation") != "PALETTE COLOR"
        and not swapped_bytes
    )


def check_length(file: DicomFile, frame_bytes: float) -> None:
    """Refuses native pixels that are shorter or longer than their frames; an odd length may have a pad byte more.

    Parameters
    ----------
    file
        The file.
    frame_bytes
        Bytes of a frame, also parts of one where a pixel is a bit.

    Raises
    ------
    ValueError
        The pixels have another length; the message states the bytes found and expected.
    """
    expected = math.ceil(frame_bytes * file.frames)
    if file.length == UNDEFINED_LENGTH:
        raise ValueError(f"{file.name}: expected {expected} bytes of pixels, found fragments of compressed pixels")
    found = file.held if file.held < expected else file.length
    if not _is_length_of(found, expected):
        stated = "" if "NumberOfFrames" in file.header else " and no NumberOfFrames"
        raise ValueError(f"{file.name}: expected {expected} bytes of pixels, found {found}{stated}")


def _is_length_of(found: int, expected: int) -> bool:
    """Checks a length in bytes; a byte more makes the length of an element even (PS3.5, 7.1.1)."""
    return found in (expected, expected + expected % 2)


def read_native(file: DicomFile, frame: int, out: npt.NDArray[np.uint8]) -> None:
    """Reads a native frame's bytes, as they lie in the file, into ``out``.

    Raises
    ------
    ValueError
        The file ends before the frame does.
    """
    with file.open() as opened:
        opened.seek(frame * out.nbytes, 1)
        found = opened.readinto(memoryview(out))  # type: ignore[attr-defined]
    if found != out.nbytes:
        raise ValueError(f"{file.name}: expected {out.nbytes} bytes of frame {frame + 1}, found {found}")


def decode(file: DicomFile, encoded: bytes) -> Words:
    """Decodes a compressed frame to words, (rows, columns) or (rows, columns, 3) as RGB.

    Raises
    ------
    ValueError
        The frame contradicts its header, or does not decode; the message names the file.
    """
    try:
        encoded = without_container(encoded)
        declared = check_declared(file, encoded)
        decoder = PARALLEL.get(file.transfer_syntax)
        if decoder is not None and declared is not None and samples_of(file) == 1:
            words = decoder(encoded)
            words = words.astype(_container(file, words.dtype.kind), copy=False)
        else:
            words = _pydicom(_image_pixel(file, encapsulate([encoded]), photometric_of(file.header)))
        if declared is not None and has_more_bits(file, declared) and words.max() >> int(file.header.BitsStored):
            raise ValueError(f"pixels of up to {words.max()}, its header BitsStored {file.header.BitsStored}")
        return _as_colours(words, file)
    except Exception as error:  # decoders raise any kind of error
        syntax = file.transfer_syntax.name
        syntax = safe_code(syntax) if syntax == file.transfer_syntax else syntax
        raise ValueError(f"{file.name}: the frame does not decode as {syntax}: {decoder_error_text(error)}") from error


def decode_native(file: DicomFile, frame: int) -> Words:
    """Decodes a native frame of colours, palette indices or single bits, in the form of :func:`decode`."""
    header = file.header
    if header.BitsAllocated == 1:
        return _single_bits(file, frame)
    bits = int(header.BitsAllocated) * samples_of(file) * int(header.Rows) * int(header.Columns)
    photometric = photometric_of(header)
    if photometric == "YBR_FULL_422":
        if _is_length_of(file.length, math.ceil(bits * file.frames / 8)):
            photometric = "YBR_FULL"  # three samples a pixel are stored, so the chrominance is not subsampled
        else:
            bits = bits // 3 * 2
    content = _bytes_with(file, frame, bits)
    try:
        if frame * bits % (8 if file.transfer_syntax.is_little_endian else 16):
            raise ValueError("frames that begin within a word")
        return _as_colours(_pydicom(_image_pixel(file, content + b"\0" * (len(content) % 2), photometric)), file)
    except Exception as error:
        raise ValueError(f"{file.name}: the frame does not decode: {decoder_error_text(error)}") from error


def _single_bits(file: DicomFile, frame: int) -> Words:
    """Reads a frame of single bits, lowest of a byte first; frames follow without a gap (PS3.5, 8.1.1)."""
    rows, columns = int(file.header.Rows), int(file.header.Columns)
    pixels = rows * columns * samples_of(file)
    if samples_of(file) != 1 or not file.transfer_syntax.is_little_endian:
        raise ValueError(f"{file.name}: expected single bits of one sample in little-endian order")
    content = np.frombuffer(_bytes_with(file, frame, pixels), dtype=np.uint8)
    begin = frame * pixels % 8
    return np.unpackbits(content, bitorder="little")[begin : begin + pixels].reshape(rows, columns)


def _bytes_with(file: DicomFile, frame: int, bits: int) -> bytes:
    """Reads the bytes in which a frame of so many bits lies."""
    check_length(file, bits / 8)
    first, last = frame * bits // 8, -(-(frame + 1) * bits // 8)
    with file.open() as opened:
        opened.seek(first, 1)
        return opened.read(last - first + (last - first) % 2)  # the order of bytes may be of words


def has_more_bits(file: DicomFile, declared: Codestream) -> bool:
    """Checks whether a codestream states more bits than the header stores, fewer than it allocates, and no sign."""
    bits = int(file.header.get("BitsStored") or 0), int(file.header.BitsAllocated)
    return 0 < bits[0] < declared.precision < bits[1] and not file.header.get("PixelRepresentation")


def check_declared(file: DicomFile, encoded: bytes) -> Codestream | None:
    """Refuses (ValueError) a compressed frame that contradicts its header or is too short, before memory is taken."""
    header = file.header
    rows, columns = int(header.Rows), int(header.Columns)
    pixels = rows * columns * samples_of(file)
    if file.transfer_syntax == RLELossless:
        needed = pixels * int(header.BitsAllocated) // 8
        if needed > RLE_RATIO * len(encoded):
            raise ValueError(f"{len(encoded)} bytes of run lengths cannot hold {needed} bytes of pixels")
        if has_second_frame(encoded, samples_of(file) * int(header.BitsAllocated) // 8):
            raise ValueError("a second frame of run lengths behind the first")
        return None
    declared = read_codestream(encoded)
    most = declared.most_samples * len(encoded) or max(LARGEST_BLANK, COMPRESSION * len(encoded))
    if pixels > most:
        raise ValueError(f"a codestream of {len(encoded)} bytes, expected more for {pixels} samples")
    if (declared.rows, declared.columns, declared.samples) != (rows, columns, samples_of(file)):
        found = f"{declared.rows}x{declared.columns}x{declared.samples}"
        raise ValueError(f"the codestream is of {found}, its header of {rows}x{columns}x{samples_of(file)}")
    if declared.precision > int(header.BitsAllocated):
        raise ValueError(f"the codestream has {declared.precision} bits, its header {header.BitsAllocated}")
    return declared


def _container(file: DicomFile, kind: str) -> npt.DTypeLike:
    return np.dtype(f"{kind}{int(file.header.BitsAllocated) // 8}")


def _pydicom(image: Dataset) -> Words:
    """Decodes a frame; bits that do not count stay as they are, because they show whether the HighBit is true."""
    return get_decoder(image.file_meta.TransferSyntaxUID).as_array(image, index=0, correct_unused_bits=False)[0]


def _image_pixel(file: DicomFile, content: bytes, photometric: str) -> Dataset:
    """Builds an image of one frame; colours of no stated order lie pixel by pixel, as other readers take them too."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = file.transfer_syntax
    for keyword in MODULE:
        if keyword in file.header:
            image[keyword] = file.header[keyword]
    image.PhotometricInterpretation = photometric
    if samples_of(file) > 1 and image.get("PlanarConfiguration") is None:
        image.PlanarConfiguration = 0
    image.PixelData = content
    image["PixelData"].VR = file.value_representation
    image["PixelData"].is_undefined_length = file.transfer_syntax.is_encapsulated
    return image


def _as_colours(words: Words, file: DicomFile) -> Words:
    if file.header.get("PhotometricInterpretation") == "PALETTE COLOR":
        return apply_color_lut(words & (2 ** int(file.header.BitsStored) - 1), file.header)
    return words
