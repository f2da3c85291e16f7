"""Pixel data that the header does not explain: the values are pydicom's or SimpleITK's, or the file is refused.

Each kind has the public case (``FEDMED_DATA/cases``) and files that are written here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from fedmed_transforms import load_image
from tests.transforms.cases.written_dicom import FULL, SYNTAXES, case, colours, compressed, loaded, write


def test_public_cases() -> None:
    with pytest.raises(ValueError, match=r"noframes\.dcm: expected 96 bytes of pixels, found 288 and no Number"):
        load_image(case("pixels_more_frames_than_declared/noframes.dcm"))
    assert loaded(case("ybr422_full_length/us_ybr422_native_full.dcm"))[0, 0].tolist() == [199, 40, 220]  # dcm2niix


@pytest.mark.parametrize("frames", [None, 1, 2])
@pytest.mark.parametrize(("allocated", "samples"), [(8, 1), (8, 3), (16, 1), (32, 1)])
@pytest.mark.parametrize("more", [-2, 2, 128, "a frame"])
def test_native_pixels_of_another_length(
    tmp_path: Path, frames: int | None, allocated: int, samples: int, more: int | str
) -> None:
    size = 24 * samples * allocated // 8
    expected = size * (frames or 1)
    found = expected + (size if isinstance(more, str) else more)
    kind = colours() if samples == 3 else {}
    bits = {"BitsAllocated": allocated, "BitsStored": allocated, "HighBit": allocated - 1}
    path = write(tmp_path / "f.dcm", bytes(found), NumberOfFrames=frames, **kind, **bits)
    stated = "" if frames else " and no NumberOfFrames"
    with pytest.raises(ValueError, match=rf"f\.dcm: expected {expected} bytes of pixels, found {found}{stated}$"):
        load_image(path, assume_spacing=(1, 1, 1))


@pytest.mark.parametrize(("frames", "columns"), [(1, 5), (3, 5), (1, 6)])
def test_only_a_byte_that_makes_the_length_even_may_follow(tmp_path: Path, frames: int, columns: int) -> None:
    stored = np.arange(frames * 3 * columns, dtype=np.uint8)
    odd = stored.size % 2
    size = {"Rows": 3, "Columns": columns, "NumberOfFrames": frames}
    image = load_image(write(tmp_path / "f.dcm", stored.tobytes() + bytes(odd), **size), assume_spacing=(1, 1, 1))
    np.testing.assert_array_equal(np.asarray(image)[0].T.ravel(), stored)
    with pytest.raises(ValueError, match=f"expected {stored.size} bytes of pixels, found {stored.size + 2 + odd}"):
        load_image(write(tmp_path / "f.dcm", stored.tobytes() + bytes(2 + odd), **size), assume_spacing=(1, 1, 1))


def test_single_bits_of_another_length(tmp_path: Path) -> None:
    bits = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    stored = np.arange(24) % 3 == 0  # three bytes, and one that makes the length even
    content = np.packbits(stored, bitorder="little").tobytes()
    np.testing.assert_array_equal(loaded(write(tmp_path / "f.dcm", content + b"\0", **bits)).ravel(), stored)
    with pytest.raises(ValueError, match="expected 3 bytes of pixels, found 6"):
        load_image(write(tmp_path / "f.dcm", 2 * content, **bits))


def test_compressed_pixels_under_a_native_syntax(tmp_path: Path) -> None:
    content = encapsulate([compressed(RLELossless, FULL[..., 0])])
    path = write(tmp_path / "f.dcm", content, RLELossless)
    path.write_bytes(path.read_bytes().replace(RLELossless.encode(), ExplicitVRLittleEndian.encode()))
    with pytest.raises(ValueError, match=r"f\.dcm: expected 24 bytes of pixels, found fragments of compressed pixels"):
        load_image(path)


@pytest.mark.parametrize("planar", [0, None])
@pytest.mark.parametrize("frames", [1, 2])
def test_ybr_full_422_of_both_lengths(tmp_path: Path, frames: int, planar: int | None) -> None:
    """The reference is pydicom's decoding: three samples a pixel as YBR_FULL, two as YBR_FULL_422."""
    stored = np.random.default_rng(0).integers(60, 200, (frames, 4, 6, 3), dtype=np.uint8)
    stored[:, :, 1::2, 1:] = stored[:, :, ::2, 1:]  # chrominance of pairs, so that both lengths mean the same
    pairs = stored.reshape(frames, 4, 3, 2, 3)
    half = np.stack([pairs[..., 0, 0], pairs[..., 1, 0], pairs[..., 0, 1], pairs[..., 0, 2]], axis=-1)
    full = write(tmp_path / "full.dcm", stored.tobytes(), NumberOfFrames=frames,
                 **colours(PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=planar))  # fmt: skip
    short = write(tmp_path / "short.dcm", half.tobytes(), NumberOfFrames=frames,
                  **colours(PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=planar))  # fmt: skip
    reference = pydicom.dcmread(full)
    reference.PhotometricInterpretation, reference.PlanarConfiguration = "YBR_FULL", 0
    expected = get_decoder(ExplicitVRLittleEndian).as_array(reference)[0].reshape(frames, 4, 6, 3)
    for path in (full, short):
        image = np.asarray(load_image(path, assume_spacing=(1, 1, 1) if frames > 1 else None))
        found = np.rint(255 * image.reshape(3, 6, 4, frames)).transpose(3, 2, 1, 0)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("found", [95, 97, 98, 100, 143, 146, 288])
def test_ybr_full_422_of_another_length(tmp_path: Path, found: int) -> None:
    even = found + found % 2
    path = write(tmp_path / "f.dcm", bytes(found), **colours(PhotometricInterpretation="YBR_FULL_422", Rows=8))
    assert len(pydicom.dcmread(path).PixelData) == even
    if even not in (96, 144):
        with pytest.raises(ValueError, match=f"expected 96 bytes of pixels, found {even}"):
            load_image(path)


def test_ybr_full_422_in_a_jpeg_that_subsamples_nothing(tmp_path: Path) -> None:
    encoded = bytes(imagecodecs.jpeg8_encode(FULL, level=100, subsampling="444"))
    path = write(tmp_path / "f.dcm", encapsulate([encoded]), JPEGBaseline8Bit,
                 **colours(PhotometricInterpretation="YBR_FULL_422"))  # fmt: skip
    assert abs(loaded(path) - imagecodecs.jpeg8_decode(encoded)).max() <= 1


def encapsulated(frames: list[bytes], table: str) -> tuple[bytes, dict[str, Any]]:
    if table == "extended":
        content, offsets, lengths = encapsulate_extended(frames)
        return content, {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    if table == "joined":
        return encapsulate([b"".join(frames)], has_bot=False), {}
    return encapsulate(frames, has_bot=table == "basic"), {}


@pytest.mark.parametrize("table", ["none", "basic", "extended", "joined"])
@pytest.mark.parametrize("declared", [None, 1, 2])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=[syntax.keyword for syntax in SYNTAXES])
def test_more_compressed_frames_than_declared(tmp_path: Path, syntax: UID, declared: int | None, table: str) -> None:
    frames = [compressed(syntax, FULL[..., 0] + number) for number in range(3)]
    content, tables = encapsulated(frames, table)
    path = write(tmp_path / "f.dcm", content, syntax, NumberOfFrames=declared, **tables)
    found = r"expected \d frames, found [13]"
    if table == "joined" and declared != 2:  # one fragment, which is one frame
        found = "a second (codestream|frame of run lengths)"
    with pytest.raises(ValueError, match=rf"f\.dcm: .*{found}"):
        load_image(path, assume_spacing=(1, 1, 1))


@pytest.mark.parametrize("kind", ["extended", "basic"])
def test_a_table_that_leaves_a_frame_out(tmp_path: Path, kind: str) -> None:
    """A table of one offset before two frames, whose NumberOfFrames is 1."""
    frames = [compressed(JPEGLSLossless, FULL[..., 0] + number) for number in range(2)]
    content, tables = encapsulated(frames, kind)
    if kind == "extended":
        tables = {keyword: value[:8] for keyword, value in tables.items()}
    else:
        content = content[:4] + (4).to_bytes(4, "little") + content[8:12] + content[16:]
    path = write(tmp_path / "f.dcm", content, JPEGLSLossless, NumberOfFrames=1, **tables)
    with pytest.raises(ValueError, match="expected 1 frames, found 2$"):
        load_image(path)


def test_one_frame_in_several_fragments_is_one(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 255, (4, 6), dtype=np.uint8)
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        content = encapsulate([compressed(syntax, stored)], fragments_per_frame=2, has_bot=False)
        np.testing.assert_array_equal(loaded(write(tmp_path / "f.dcm", content, syntax)), stored)
