"""Tests the values of stored bits: small DICOM files with known values, in every layout that the standard allows."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ParametricMapStorage,
    RLELossless,
)

from fedmed_transforms import load_image

ORDERS = {"<": ExplicitVRLittleEndian, ">": ExplicitVRBigEndian}


def image_of(rows: int, columns: int, frames: int, allocated: int, **elements: Any) -> Dataset:
    """A header of axial frames 2 mm apart, without pixels."""
    dicom = Dataset()
    dicom.SOPClassUID, dicom.SOPInstanceUID, dicom.SeriesInstanceUID = ParametricMapStorage, UID("1.2.3"), UID("1.2")
    dicom.Modality, dicom.Rows, dicom.Columns, dicom.NumberOfFrames = "OT", rows, columns, frames
    dicom.SamplesPerPixel, dicom.PhotometricInterpretation = 1, "MONOCHROME2"
    dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit = allocated, allocated, allocated - 1
    dicom.PixelRepresentation, dicom.PixelSpacing = 0, [1, 1]
    dicom.ImageOrientationPatient, dicom.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 0]
    dicom.GridFrameOffsetVector = [2.0 * frame for frame in range(frames)]
    dicom.SliceThickness = 2
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    return dicom


def save(path: Path, dicom: Dataset, content: bytes, syntax: UID = ExplicitVRLittleEndian, kind: str = "OW") -> Path:
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = syntax
    if "FloatPixelData" not in dicom and "DoubleFloatPixelData" not in dicom:
        dicom.add_new("PixelData", "OB" if syntax.is_encapsulated else kind, content)
        dicom["PixelData"].is_undefined_length = syntax.is_encapsulated
    dicom.save_as(path, enforce_file_format=True)
    return path


def values_of(path: Path, **rules: Any) -> Any:
    """(frames, rows, columns)."""
    image = np.asarray(load_image(path, **rules))
    return image.reshape(*image.shape[1:3], -1).transpose(2, 1, 0)


def even(content: bytes) -> bytes:
    return content + bytes(len(content) % 2)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("frames", [1, 3])
def test_words_of_every_size_sign_and_order(tmp_path: Path, order: str, kind: str, frames: int) -> None:
    limits = np.iinfo(kind)
    stored = np.linspace(limits.min, limits.max, 6 * frames).round().astype(order + kind).reshape(frames, 2, 3)
    if stored.itemsize == 4:  # of 24 bits: more would be rounded, which is refused
        stored = (stored // 256 * 256).astype(order + kind)
    header = image_of(2, 3, frames, 8 * stored.itemsize, PixelRepresentation=int(kind[0] == "i"))
    content = stored.tobytes() if stored.itemsize > 1 else stored.astype("u1" if kind == "u1" else "i1").tobytes()
    path = save(tmp_path / "f.dcm", header, content, ORDERS[order], "OB" if stored.itemsize == 1 else "OW")
    np.testing.assert_array_equal(values_of(path), stored.astype(np.float32))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_frames_of_an_odd_number_of_bytes_follow_without_a_gap(tmp_path: Path, syntax: UID) -> None:
    stored = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    path = save(tmp_path / "f.dcm", image_of(3, 3, 3, 8), even(stored.tobytes()), syntax)
    np.testing.assert_array_equal(values_of(path), stored)


@pytest.mark.parametrize(("rows", "columns", "frames"), [(4, 4, 1), (3, 3, 1), (3, 3, 5), (1, 5, 7), (8, 4, 3)])
@pytest.mark.parametrize("signed", [0, 1])
def test_single_bits_lie_lowest_first_and_frames_may_begin_within_a_byte(
    tmp_path: Path, rows: int, columns: int, frames: int, signed: int
) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (frames, rows, columns), dtype=np.uint8)
    content = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = save(tmp_path / "f.dcm", image_of(rows, columns, frames, 1, PixelRepresentation=signed), even(content))
    np.testing.assert_array_equal(values_of(path), bits)


@pytest.mark.parametrize(
    ("allocated", "stored", "high", "order"),
    [  # bytes of the other order lie in words of two, which the test of words writes
        *((16, 12, 11, order) for order in ORDERS),
        *((16, 10, 13, order) for order in ORDERS),
        *((32, 20, 25, order) for order in ORDERS),
        (8, 5, 4, "<"),
        (8, 4, 7, "<"),
    ],
)
@pytest.mark.parametrize("signed", [0, 1])
def test_bits_that_do_not_count_may_hold_anything(
    tmp_path: Path, allocated: int, stored: int, high: int, order: str, signed: int
) -> None:
    """Overlays lay in the unused bits once (retired in 2004), so they must not show in the values."""
    random = np.random.default_rng(allocated + stored)
    meant = random.integers(0, 2**stored, 12) - signed * 2 ** (stored - 1)
    low = high + 1 - stored
    garbage = random.integers(0, 2**allocated, 12, dtype=np.uint64)
    mask = np.uint64(((1 << stored) - 1) << low)
    words = (garbage & ~mask) | ((meant.astype(np.uint64) << np.uint64(low)) & mask)
    header = image_of(3, 4, 1, allocated, BitsStored=stored, HighBit=high, PixelRepresentation=signed)
    content = (words & np.uint64(2**allocated - 1)).astype(f"{order}u{allocated // 8}").tobytes()
    path = save(tmp_path / "f.dcm", header, content, ORDERS[order])
    np.testing.assert_array_equal(values_of(path)[0].ravel(), meant)


@pytest.mark.parametrize(("keyword", "letter"), [("FloatPixelData", "f"), ("DoubleFloatPixelData", "d")])
@pytest.mark.parametrize("order", ORDERS)
def test_floats_are_kept_as_they_are(tmp_path: Path, keyword: str, letter: str, order: str) -> None:
    stored = [0.1, -2.5e-30, 1e30, 7.25, -0.0, 3]
    size = 8 * struct.calcsize(letter)
    header = image_of(2, 3, 1, size)
    for element in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(header, element)  # they are of integers
    setattr(header, keyword, struct.pack(f"{order}6{letter}", *stored))
    path = save(tmp_path / "f.dcm", header, b"", ORDERS[order])
    np.testing.assert_array_equal(values_of(path).ravel(), np.float32(stored))


@pytest.mark.parametrize(("start", "signed"), [(0, 0), (3, 0), (-2, 1)])
@pytest.mark.parametrize("bits", [8, 16])
def test_modality_table_holds_its_ends(tmp_path: Path, start: int, signed: int, bits: int) -> None:
    """Stored values below the table take its first entry, those above its last (PS3.3, C.11.1.1)."""
    entries = [200, 10, 77, 5] if bits == 8 else [60000, 10, 777, 5]
    table = Dataset()
    first = struct.unpack("H", struct.pack("h", start))[0] if not signed else start
    table.add_new("LUTDescriptor", "SS" if signed else "US", [4, first, bits])
    table.ModalityLUTType = "US"
    table.add_new("LUTData", "OW", struct.pack("<4H", *entries))
    stored = np.arange(-4, 8, dtype=np.int8) if signed else np.arange(12, dtype=np.uint8)
    header = image_of(3, 4, 1, 8, PixelRepresentation=signed, ModalityLUTSequence=[table])
    path = save(tmp_path / "f.dcm", header, stored.tobytes())
    expected = [entries[min(max(int(value) - start, 0), 3)] for value in stored]
    assert values_of(path).ravel().tolist() == expected


def run_lengths(stored: Any) -> list[bytes]:
    """Frames of 16-bit words, compressed by pydicom."""
    frames, rows, columns = stored.shape
    options: dict[str, Any] = {"rows": rows, "columns": columns, "number_of_frames": 1, "samples_per_pixel": 1}
    options.update(bits_allocated=16, bits_stored=16, pixel_representation=0, photometric_interpretation="MONOCHROME2")
    return [RLELosslessEncoder.encode(frame.tobytes(), **options) for frame in stored]


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(("fragments", "table"), [(1, True), (1, False), (2, True), (2, False), (1, "extended")])
def test_compressed_frames_are_found_by_every_kind_of_table(
    tmp_path: Path, frames: int, fragments: int, table: bool | str
) -> None:
    stored = np.random.default_rng(0).integers(0, 4000, (frames, 5, 7), dtype=np.uint16)
    header = image_of(5, 7, frames, 16)
    if table == "extended":
        content, header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths = encapsulate_extended(
            run_lengths(stored)
        )
    else:
        content = encapsulate(run_lengths(stored), fragments_per_frame=fragments, has_bot=bool(table))
    path = save(tmp_path / "f.dcm", header, content, RLELossless)
    if frames > 1 and fragments > 1 and not table:  # nothing says where a frame ends
        with pytest.raises(ValueError, match=r"f\.dcm: expected 3 frames, found 1"):
            load_image(path)
    else:
        np.testing.assert_array_equal(values_of(path), stored)


@pytest.mark.parametrize("frames", [2, 4, 10**6, 2**31 - 1])
def test_frames_that_are_not_there_are_refused(tmp_path: Path, frames: int) -> None:
    header = image_of(3, 4, 1, 8, NumberOfFrames=frames)
    del header.GridFrameOffsetVector
    path = save(tmp_path / "f.dcm", header, bytes(range(12)))
    with pytest.raises(ValueError, match=rf"f\.dcm: .*(expected {12 * frames} bytes|a NumberOfFrames of more than)"):
        load_image(path, assume_spacing=(1, 1, 1))


@pytest.mark.parametrize("photometric", ["XYB", "", "RGBA"])
def test_pixels_of_unknown_meaning_are_refused(tmp_path: Path, photometric: str) -> None:
    path = save(tmp_path / "f.dcm", image_of(3, 4, 1, 8, PhotometricInterpretation=photometric), bytes(12))
    with pytest.raises(ValueError, match="expected a PhotometricInterpretation of MONOCHROME1, MONOCHROME2"):
        load_image(path)


def test_padding_is_set_to_the_lowest_real_value(tmp_path: Path) -> None:
    header = image_of(1, 6, 1, 16, PixelRepresentation=1, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
    path = save(tmp_path / "f.dcm", header, np.array([-2000, -1995, -1990, -1989, 0, 7], "<i2").tobytes())
    assert values_of(path).ravel().tolist() == [-1989, -1989, -1989, -1989, 0, 7]
    assert values_of(path, padding="keep").ravel().tolist() == [-2000, -1995, -1990, -1989, 0, 7]
    assert isinstance(load_image(path), torch.Tensor)
