"""Reads the layout of stored pixels from a header, and takes the stored bits out of words."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from fedmed_transforms.dicom.damage import Damaged, safe_code
from fedmed_transforms.dicom.dicom_file import DicomFile
from fedmed_transforms.dicom.pixels.codestream import read_codestream, without_container
from fedmed_transforms.dicom.pixels.scaling import Array, cast, view

PHOTOMETRIC = (
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
)
"""The photometric interpretations that are read (PS3.3, C.7.6.3.1.2)."""


@dataclass(frozen=True)
class PixelFormat:
    """The layout of a frame's pixels in memory (PS3.3, C.7.6.3; PS3.5, 8).

    Attributes
    ----------
    rows, columns
        Of a frame.
    allocated, stored, high_bit
        Bits of a word, bits of it that count, and the place of the highest of these.
    signed, floating
        Two's complement integers; IEEE floats.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    floating: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame."""
        return self.rows * self.columns * self.allocated // 8

    @property
    def word(self) -> str:
        """The numpy name of a word's type; unsigned words of more than 8 bits are held in signed ones."""
        if self.floating:
            return f"float{self.allocated}"
        return f"int{self.allocated}" if self.signed or self.allocated > 8 else "uint8"


def photometric_of(header: Dataset) -> str:
    """Reads the photometric interpretation.

    One sample a pixel, without an interpretation and without a palette, is grey: other readers take it so, too.
    """
    if "PhotometricInterpretation" in header or "RedPaletteColorLookupTableDescriptor" in header:
        return str(header.get("PhotometricInterpretation") or "")
    return "MONOCHROME2" if (header.get("SamplesPerPixel") or 1) == 1 else ""


def pixel_format(header: Dataset, keyword: str, as_stored: bool) -> PixelFormat:
    """Reads the pixel format that a header declares.

    Parameters
    ----------
    header
        Of the file.
    keyword
        Element that holds the pixels.
    as_stored
        Whether words are stored as the HighBit states: decoders of a codestream put its bits lowest.

    Raises
    ------
    ValueError
        The declared bits contradict each other.
    """
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise Damaged(f"expected Rows and Columns of at least 1, found {rows} and {columns}")
    photometric = photometric_of(header)
    if photometric not in PHOTOMETRIC:
        found = safe_code(photometric)
        raise Damaged(f"expected a PhotometricInterpretation of {', '.join(PHOTOMETRIC)}, found {found}")
    if keyword != "PixelData":
        bits = 32 if keyword == "FloatPixelData" else 64
        return PixelFormat(rows, columns, bits, bits, bits - 1, signed=True, floating=True)
    allocated = int(header.get("BitsAllocated") or 0)
    stored = int(header.get("BitsStored") or allocated)
    stated = header.get("HighBit") if as_stored else None
    high_bit = stored - 1 if stated is None else int(stated)
    if allocated not in (1, 8, 16, 32):
        raise Damaged(f"expected BitsAllocated of 1, 8, 16 or 32, found {allocated}")
    if allocated == 1:  # unpacked to bytes of 0 and 1, whatever the PixelRepresentation: one bit has no sign
        return PixelFormat(rows, columns, 8, 1, 0, signed=False)
    if not (1 <= stored <= allocated and 0 <= high_bit < allocated):
        found = f"{stored}, {high_bit}, {allocated}"
        raise Damaged(f"expected BitsStored <= BitsAllocated and HighBit < BitsAllocated, found {found}")
    return PixelFormat(rows, columns, allocated, stored, high_bit, bool(header.get("PixelRepresentation")))


def is_as_stored(file: DicomFile, encoded: bytes) -> bool:
    """Checks whether a frame's words lie as the HighBit states.

    Decoders of a codestream put its bits lowest. They lie as stated only if they hold more than the stored bits.
    """
    stored = int(file.header.get("BitsStored") or 0)
    if not encoded or file.transfer_syntax == RLELossless or file.header.get("HighBit") in (None, stored - 1):
        return True
    return read_codestream(without_container(encoded)).precision > stored


def stored_bits(words: Array, pixels: PixelFormat) -> Array:
    """Takes the stored bits of each word as numbers; the other bits may hold anything (PS3.5, 8.1.1)."""
    low, last = max(0, pixels.high_bit + 1 - pixels.stored), max(pixels.high_bit, pixels.stored - 1)
    if pixels.signed:
        above = pixels.allocated - last - 1
        return words if above + low == 0 else (words << above) >> (above + low)
    if pixels.stored < pixels.allocated:
        return (words >> low if low else words) & (2**pixels.stored - 1)
    return whole_words(words, pixels)


def whole_words(words: Array, pixels: PixelFormat) -> Array:
    """Takes all bits of each word as a number."""
    if pixels.signed or pixels.allocated == 8:
        return words
    return cast(view(words, "uint16"), "int32") if pixels.allocated == 16 else cast(words, "int64") & 0xFFFFFFFF


def check_high_bit(words: Array, pixels: PixelFormat) -> None:
    """Refuses words from which a HighBit other than BitsStored - 1 takes another number than most readers take.

    Most readers ignore the HighBit, and so take the lowest bits. If the HighBit lies below them, both readings agree
    on numbers of few bits. If it lies above them, the words show the truth: either they use bits that only this
    HighBit explains, or no bit below the stored ones.

    Parameters
    ----------
    words
        (rows, columns) or (frames, rows, columns), as they are stored.
    pixels
        Their format.

    Raises
    ------
    Damaged
        The words contradict the HighBit.
    """
    if pixels.floating or pixels.high_bit == pixels.stored - 1:
        return
    bits = min(pixels.stored, pixels.high_bit + 1)
    for frame in words.reshape(-1, pixels.rows, pixels.columns):
        if pixels.high_bit < pixels.stored:
            wrong = not _lie_in(stored_bits(frame, pixels), *_range(bits, pixels.signed))
        else:
            unused = frame & (2 ** (pixels.high_bit + 1 - pixels.stored) - 1)
            lowest = _range(bits, pixels.signed)[0], 2**bits - 1  # some writers leave out the bits above the sign
            wrong = bool(unused.any()) and _lie_in(whole_words(frame, pixels), *lowest)
        if wrong:
            found = f"HighBit {pixels.high_bit}, BitsStored {pixels.stored} and pixels that contradict them"
            raise Damaged(f"{found}, expected a HighBit of BitsStored - 1")


def _range(bits: int, signed: bool) -> tuple[int, int]:
    """Computes the least and the greatest number of so many bits."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _lie_in(numbers: Array, least: int, most: int) -> bool:
    return least <= int(numbers.min()) and int(numbers.max()) <= most
