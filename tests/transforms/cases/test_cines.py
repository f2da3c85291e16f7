"""Several pictures without a position in one file or series: each is a picture, and time is no axis of space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import UltrasoundMultiFrameImageStorage

from fedmed_transforms import load_image
from tests.transforms.cases.written_series import write_slice

CASES = Path(os.environ.get("FEDMED_DATA", "")) / "cases"

TIMED = {"FrameTime": "33.3", "FrameIncrementPointer": 0x00181063}


def frames(count: int, coloured: bool) -> np.ndarray:
    """(frames, rows, columns[, 3]), uint8: every value tells its frame, its place and its colour."""
    shape = (count, 6, 5, 3) if coloured else (count, 6, 5)
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def write_cine(path: Path, count: int = 3, coloured: bool = True, **values: Any) -> Path:
    given = {"Modality": "US", "SOPClassUID": UltrasoundMultiFrameImageStorage, "NumberOfFrames": count, **values}
    stored = frames(count, coloured)
    if not coloured:
        stored = stored.astype(np.uint16)
    write_slice(path, stored, None, 1, {}, **given)
    return path


@pytest.mark.parametrize("coloured", [True, False])
@pytest.mark.parametrize("elements", [{}, TIMED, {**TIMED, "Modality": "XA"}, {"FrameTimeVector": [0, 33, 34]}])
def test_a_cine_is_pictures(tmp_path: Path, elements: dict[str, Any], coloured: bool) -> None:
    path = write_cine(tmp_path / "c.dcm", coloured=coloured, **elements)
    found = r"c\.dcm: found no position and no orientation in 3 of 3 images, 3 frames"
    with pytest.raises(ValueError, match=found) as error:
        load_image(path)
    said = str(error.value)
    assert "volume='first'" in said and "volume='channels'" in said and "assume_spacing" not in said
    expected = np.moveaxis(frames(3, coloured).astype(np.float32) / (255 if coloured else 1), 2, 1)
    expected = np.moveaxis(expected, 3, 1) if coloured else expected[:, None]  # (frames, C, X, Y)
    for number in range(3):
        np.testing.assert_allclose(load_image(path, volume=number), expected[number], rtol=1e-6)
    np.testing.assert_allclose(load_image(path, volume="first"), expected[0], rtol=1e-6)
    np.testing.assert_allclose(load_image(path, volume="channels"), expected.reshape(-1, 5, 6), rtol=1e-6)
    with pytest.raises(ValueError, match="volume: expected a number below 3"):
        load_image(path, volume=3)


def test_frames_of_another_modality_may_be_slices(tmp_path: Path) -> None:
    path = write_cine(tmp_path / "o.dcm", Modality="OT", coloured=False, PixelSpacing=[2.0, 1.5])
    with pytest.raises(ValueError, match=r"volume='first'.*; nothing states that they are slices"):
        load_image(path)
    assert load_image(path, assume_spacing=(1.0, 1.0, 5.0)).shape == (1, 5, 6, 3)
    assert load_image(path, volume=2).shape == (1, 5, 6)


def write_stills(folder: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    folder.mkdir()
    for number, size in enumerate(sizes):
        pixels = np.full((*size, 3), number + 1, dtype=np.uint8)
        write_slice(folder / f"{9 - number}.dcm", pixels, None, number + 1, {}, Modality="US")
    return folder


def test_pictures_of_a_series_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = write_stills(tmp_path / "s", [(6, 5), (6, 5), (6, 5)])
    with pytest.raises(ValueError, match=r"9\.dcm, .*8\.dcm, .*7\.dcm: found no position .* in 3 of 3 images; .*first"):
        load_image(folder)
    assert [round(float(load_image(folder, volume=number).max()) * 255) for number in range(3)] == [1, 2, 3]
    channels = load_image(folder, volume="channels")
    assert channels.shape == (9, 5, 6)
    np.testing.assert_allclose(channels[:, 0, 0] * 255, [1, 1, 1, 2, 2, 2, 3, 3, 3], rtol=1e-6)


def test_pictures_of_two_sizes_are_no_channels(tmp_path: Path) -> None:
    folder = write_stills(tmp_path / "s", [(6, 5), (7, 5)])
    with pytest.raises(ValueError, match="volume='first' takes the first, volume=1 the last of them") as error:
        load_image(folder)
    assert "channels" not in str(error.value)
    assert load_image(folder, volume=1).shape == (3, 5, 7)
    with pytest.raises(ValueError, match=r"pictures of one size and kind as channels, .*; the rule volume='first'"):
        load_image(folder, volume="channels")


@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images")
def test_public_cine() -> None:
    path = CASES / "us_cine/us_cine.dcm"
    with pytest.raises(ValueError, match="3 frames of the modality US; the rule volume='first'"):
        load_image(path)
    assert [load_image(path, volume=number).shape for number in range(3)] == [(3, 16, 16)] * 3


def test_a_volume_of_one_position_has_its_thickness(tmp_path: Path) -> None:
    """One slice of the heart in three phases: each phase is a volume of one slice."""
    (tmp_path / "s").mkdir()
    for phase in range(3):
        pixels = np.full((6, 5), phase, dtype=np.uint16)
        write_slice(tmp_path / "s" / f"{phase}.dcm", pixels, (1, 2, 3), phase + 1, {}, TriggerTime=40.0 * phase)
    with pytest.raises(ValueError, match="found 3 volumes of 1 slices each, told apart by TriggerTime"):
        load_image(tmp_path / "s")
    image = load_image(tmp_path / "s", volume=2)
    assert image.shape == (1, 5, 6, 1) and float(image.max()) == 2 and float(image.affine[2, 2]) == 3
    assert load_image(tmp_path / "s", volume="channels").shape == (3, 5, 6, 1)
