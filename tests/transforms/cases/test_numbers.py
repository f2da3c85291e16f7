"""Numbers that cannot be meant: slopes of 0, a HighBit that contradicts BitsStored, integers that float32 rounds.

The right values are pydicom's, which ignores the HighBit, and SimpleITK's; or the file is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import JPEGLSLossless, RLELossless

from fedmed_transforms import load_image
from fedmed_transforms.dicom.dicom_file import read_dicom_file
from fedmed_transforms.dicom.pixels.voxels import fill_on_device, plan
from fedmed_transforms.dicom.series_rules import SeriesRules
from fedmed_transforms.dicom.slices import read_slices
from tests.transforms.cases.written_dicom import case, compressed, loaded, write

STORED = np.arange(24, dtype="<u2").reshape(4, 6)


def words(path: Path, stored: Any, high: int | None = None, bits: int | None = None, **elements: Any) -> Path:
    """Writes integers of 16 or 32 bits."""
    allocated = 8 * stored.itemsize
    kinds = {"BitsAllocated": allocated, "BitsStored": bits or allocated, "PixelRepresentation": 0}
    kinds.update(HighBit=(bits or allocated) - 1 if high is None else high, **elements)
    return write(path, stored.tobytes(), Rows=stored.shape[-2], Columns=stored.shape[-1], **kinds)


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def test_public_cases() -> None:
    with pytest.raises(ValueError, match=r"slope0\.dcm: .*RescaleSlope 0, expected a number that scales pixels"):
        load_image(case("slope_zero/slope0.dcm"))
    assert load_image(case("high_bit_11_of_16/hb11.dcm")).unique().tolist() == [1000]  # SimpleITK, dcm2niix


@pytest.mark.parametrize("slope", ["0", "0.0", "-0", "0e5", "1e-40", "1e39", "1e400", "nan", "inf"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "DoseGridScaling"])
def test_a_slope_that_scales_nothing_is_refused(tmp_path: Path, keyword: str, slope: str) -> None:
    path = words(tmp_path / "f.dcm", STORED, RescaleIntercept="-1024", **{keyword: "1"})
    content = path.read_bytes()
    name = b"\x28\0\x53\x10DS\x02\0" if keyword == "RescaleSlope" else b"\x04\x30\x0e\0DS\x02\0"
    text = slope.encode() + b" " * (len(slope) % 2)
    assert content.count(name + b"1 ") == 1
    path.write_bytes(content.replace(name + b"1 ", name[:6] + len(text).to_bytes(2, "little") + text))
    with pytest.raises(ValueError, match=rf"f\.dcm: expected .*{keyword}"):
        load_image(path)


@pytest.mark.parametrize("intercept", ["1e39", "inf"])
def test_an_intercept_that_float32_does_not_hold_is_refused(tmp_path: Path, intercept: str) -> None:
    path = words(tmp_path / "f.dcm", STORED, RescaleSlope="1", RescaleIntercept="0000")
    path.write_bytes(path.read_bytes().replace(b"0000", intercept.ljust(4).encode()))
    with pytest.raises(ValueError, match=r"f\.dcm: expected .*RescaleIntercept"):
        load_image(path)


def test_an_empty_slope_is_1(tmp_path: Path) -> None:
    path = words(tmp_path / "f.dcm", STORED, RescaleSlope="", RescaleIntercept="-1024")
    np.testing.assert_array_equal(loaded(path), STORED.astype(float) - 1024)


@pytest.mark.parametrize("slope", [0, 2])
def test_a_slope_of_0_in_one_frame_is_refused(tmp_path: Path, slope: int) -> None:
    """The other two frames have slopes of their own, the header one that none of them uses."""
    stored = np.stack([STORED, STORED, STORED])
    frames = [
        item(
            PixelValueTransformationSequence=[item(RescaleSlope=value, RescaleIntercept=-1, RescaleType="US")],
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 3 * number])],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=3)],
        )
        for number, value in enumerate((1, slope, 3))
    ]
    path = words(tmp_path / "f.dcm", stored, NumberOfFrames=3, PerFrameFunctionalGroupsSequence=frames, RescaleSlope=7)
    if slope:
        expected = stored * np.array([1.0, 2, 3])[:, None, None] - 1
        np.testing.assert_array_equal(np.asarray(load_image(path))[0].T, expected)
        return
    with pytest.raises(ValueError, match=r"f\.dcm: .*in frame 2 RescaleSlope 0, expected a number that scales pixels"):
        load_image(path)


SIGNED = np.array([[-2048, -1, 0], [1, 7, 2047]], dtype="<i2")


@pytest.mark.parametrize(("bits", "high"), [(16, 11), (14, 11), (16, 14), (13, 11)])
@pytest.mark.parametrize("signed", [0, 1])
def test_a_high_bit_below_bits_stored(tmp_path: Path, bits: int, high: int, signed: int) -> None:
    """The words use no bit above the HighBit, so that both elements give the same numbers, which are pydicom's."""
    stored = SIGNED if signed else (SIGNED + 2048).astype("<u2")
    path = words(tmp_path / "f.dcm", stored, high, bits, PixelRepresentation=signed)
    np.testing.assert_array_equal(loaded(path), stored)
    stored = stored.copy()
    stored[1, 1] = 2 ** (high + 1 - signed)
    with pytest.raises(ValueError, match=rf"f\.dcm: .*HighBit {high}, BitsStored {bits} and pixels that contradict"):
        load_image(words(tmp_path / "f.dcm", stored, high, bits, PixelRepresentation=signed))


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("form", ["native", "run lengths", "JPEG-LS"])
def test_a_high_bit_above_bits_stored(tmp_path: Path, form: str, signed: int) -> None:
    """12 bits, the highest 15: words that lie high are shifted; words that lie low contradict it."""
    stored = SIGNED if signed else (SIGNED + 2048).astype("<u2")
    for lies_high in (True, False):
        written = (stored << 4).astype(stored.dtype) if lies_high else stored
        elements = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 15, "PixelRepresentation": signed}
        content, syntax = written.tobytes(), None
        if form == "run lengths":
            options: dict[str, Any] = {"rows": 2, "columns": 3, "number_of_frames": 1, "samples_per_pixel": 1}
            options.update(bits_allocated=16, bits_stored=16, pixel_representation=signed)
            options.update(photometric_interpretation="MONOCHROME2")
            content, syntax = encapsulate([RLELosslessEncoder.encode(content, **options)]), RLELossless
        elif form == "JPEG-LS":
            content, syntax = encapsulate([compressed(JPEGLSLossless, written.view("<u2"))]), JPEGLSLossless
        known = {"syntax": syntax} if syntax else {}
        path = write(tmp_path / "f.dcm", content, Rows=2, Columns=3, **known, **elements)
        if lies_high:
            np.testing.assert_array_equal(loaded(path), stored)
        else:
            with pytest.raises(ValueError, match=r"f\.dcm: .*HighBit 15, BitsStored 12 and pixels that contradict"):
                load_image(path)


def test_a_codestream_of_few_bits_lies_low_whatever_the_high_bit(tmp_path: Path) -> None:
    stored = (SIGNED + 2048).astype("<u2")
    stored[0, 0] = 1
    content = encapsulate([compressed(JPEGLSLossless, stored)])
    elements = {"Rows": 2, "Columns": 3, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 11}
    np.testing.assert_array_equal(loaded(write(tmp_path / "f.dcm", content, JPEGLSLossless, **elements)), stored)


@pytest.mark.parametrize(("bits", "high"), [(17, 16), (12, 16), (12, 31), (0, 16)])
def test_bits_that_no_word_has_are_refused(tmp_path: Path, bits: int, high: int) -> None:
    path = write(tmp_path / "f.dcm", STORED.tobytes(), BitsAllocated=16, BitsStored=bits, HighBit=high)
    with pytest.raises(ValueError, match=r"f\.dcm: .*expected BitsStored <= BitsAllocated and HighBit < BitsAllocated"):
        load_image(path)


def test_colours_whose_bits_contradict_each_other_are_refused(tmp_path: Path) -> None:
    stored = np.full((4, 6, 3), 300, dtype="<u2")
    kind = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 16}
    for bits, high in ((12, 15), (16, 11)):
        path = write(tmp_path / "f.dcm", stored.tobytes(), BitsStored=bits, HighBit=high, **kind)
        with pytest.raises(ValueError, match=rf"f\.dcm: expected .* found HighBit {high} and BitsStored {bits}"):
            load_image(path)
    path = write(tmp_path / "f.dcm", (stored + 4096).tobytes(), BitsStored=12, HighBit=11, **kind)
    np.testing.assert_array_equal(load_image(path).unique().numpy(), np.float32([300 / 4095]))


WIDE = [0, 1024, 2**24, 2**24 + 1024, 2**30 + 2048, 2**31 - 1024]


@pytest.mark.parametrize("kind", ["u4", "i4"])
@pytest.mark.parametrize("scale", [(1, 0), (2, 0), (-1, 0), (1, -1024), (0.5, 0)])
def test_integers_of_32_bits_are_exact_or_refused(tmp_path: Path, kind: str, scale: tuple[float, int]) -> None:
    elements = {"RescaleSlope": scale[0], "RescaleIntercept": scale[1], "PixelRepresentation": int(kind == "i4")}
    stored = np.array(WIDE, dtype=f"<{kind}").reshape(2, 3)
    expected = stored.astype(float) * scale[0] + scale[1]
    np.testing.assert_array_equal(loaded(words(tmp_path / "f.dcm", stored, **elements)), expected)
    for value in (2**25 + 1, 2**31 - 1, *([2**32 - 1] if kind == "u4" else [-(2**30) - 1])):
        stored[1, 1] = value
        path = words(tmp_path / "f.dcm", stored, **elements)
        if scale[0] == 0.5:  # a fraction: values are measurements, which float32 rounds
            np.testing.assert_array_equal(loaded(path), (stored * 0.5).astype(np.float32))
        else:
            refused(path)


@pytest.mark.parametrize("value", [2**24 + 1, -(2**24) - 1])
def test_the_first_integer_that_float32_rounds_is_refused(tmp_path: Path, value: int) -> None:
    stored = np.array([[0, value, 5]], dtype="<i4")
    path = words(tmp_path / "f.dcm", np.repeat(stored, 2, axis=0), PixelRepresentation=1)
    refused(path)
    np.testing.assert_array_equal(loaded(words(path, stored + 1 - 2 * (value > 0), PixelRepresentation=1)),
                                  stored + 1 - 2 * (value > 0))  # fmt: skip


def refused(path: Path) -> None:
    """The CPU and the way of other devices refuse a file alike."""
    with pytest.raises(ValueError, match=r"f\.dcm: found whole numbers from .* to .*, expected at most 16777216"):
        load_image(path)
    frames = plan(read_slices(read_dicom_file(path, path.name)), SeriesRules())
    with pytest.raises(ValueError, match=r"^f\.dcm: found whole numbers from"):
        fill_on_device(torch.empty(1, 2, 3), frames)


def test_padding_that_float32_does_not_hold_is_replaced(tmp_path: Path) -> None:
    stored = np.array([[2**32 - 1, 5, 6], [7, 8, 2**32 - 1]], dtype="<u4")
    path = words(tmp_path / "f.dcm", stored)
    refused(path)
    dicom = pydicom.dcmread(path)
    dicom.add_new("PixelPaddingValue", "UL", 2**32 - 1)
    dicom.save_as(path)
    assert loaded(path).tolist() == [[5, 5, 6], [7, 8, 5]]
