"""Tests the checks of a compressed frame's declared size and end, without which a decoder fills in missing data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.encaps import encapsulate, generate_frames

from fedmed_transforms import load_image

SHIPPED = Path(pydicom.data.__file__).parent / "test_files"
NAMES = (
    *("SC_rgb_dcmtk_+eb+cr.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm", "MR_small_jpeg_ls_lossless.dcm"),
    *("SC_rgb_jls_lossy_line.dcm", "MR_small_jp2klossless.dcm", "GDCMJ2K_TextGBR.dcm"),
)
"""JPEG baseline, extended and lossless, JPEG-LS grey and coloured, JPEG 2000 grey and coloured."""

JPEG_2000 = NAMES[-2:]
BOX = b"\0\0\0\x0cjP  \r\n\x87\n"


def with_frame(name: str, path: Path, change: object) -> Path:
    """A shipped file whose one frame is changed, and well encapsulated again."""
    assert callable(change)
    header = pydicom.dcmread(SHIPPED / name)
    frame = next(generate_frames(header.PixelData, number_of_frames=1))
    header.PixelData = encapsulate([change(frame)])
    header.save_as(path)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [0.3, 0.7, 0.95])
def test_a_frame_without_its_end_is_refused(tmp_path: Path, name: str, part: float) -> None:
    path = with_frame(name, tmp_path / "f.dcm", lambda frame: frame[: int(part * len(frame))])
    with pytest.raises(ValueError, match=r"f\.dcm: the frame does not decode as JPEG.*a codestream without an end"):
        load_image(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("padding", [b"\0", b"\0" * 7, b"\xff"])
def test_a_frame_that_is_padded_loads(tmp_path: Path, name: str, padding: bytes) -> None:
    path = with_frame(name, tmp_path / "f.dcm", lambda frame: frame + padding)
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.asarray(load_image(SHIPPED / name)))


@pytest.mark.parametrize("name", JPEG_2000)
@pytest.mark.parametrize("box", [b"\0\0\0\0jp2c", b"\0\0\0\0free", b"\0\0\0\x08free"])
def test_a_container_is_taken_off(tmp_path: Path, name: str, box: bytes) -> None:
    """A box of length zero reaches to the end of the file (T.800, I.4); a parser that adds lengths never leaves it."""
    path = with_frame(name, tmp_path / "f.dcm", lambda frame: BOX + box + frame)
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.asarray(load_image(SHIPPED / name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_header_of_another_size_is_refused(tmp_path: Path, name: str) -> None:
    header = pydicom.dcmread(SHIPPED / name)
    header.Rows += 1
    header.save_as(tmp_path / "f.dcm")
    with pytest.raises(ValueError, match=rf"f\.dcm: .*its header of {header.Rows}x{header.Columns}x"):
        load_image(tmp_path / "f.dcm")


@pytest.mark.parametrize("frame", [b"\0" * 40, b"GIF89a" + b"\0" * 40, b"\xff\xd8\xff\xd9"])
def test_what_is_no_codestream_is_refused(tmp_path: Path, frame: bytes) -> None:
    path = with_frame("MR_small_jp2klossless.dcm", tmp_path / "f.dcm", lambda _: frame)
    with pytest.raises(ValueError, match=r"f\.dcm: the frame does not decode as JPEG 2000"):
        load_image(path)
