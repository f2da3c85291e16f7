"""TIFF pictures of one page, at their depth, as images and as labels; anything else is refused by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from monai.transforms import LoadImage
from PIL import Image

from fedmed_transforms import load_image, load_label

CASES = Path(os.environ.get("FEDMED_DATA", "no folder")) / "cases"
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.integers(0, 200, (6, 9), dtype=np.uint8)
COLOURS = RANDOM.integers(0, 65536, (6, 9, 3), dtype=np.uint16)

given = pytest.mark.skipif(not CASES.is_dir(), reason="FEDMED_DATA names no folder with cases")


def pixels(image: Any) -> Any:
    """(C, X, Y) -> (rows, columns) or (rows, columns, C)."""
    return np.asarray(image)[0].T if len(image) == 1 else np.asarray(image).transpose(2, 1, 0)


def write(path: Path, samples: Any, **options: Any) -> Path:
    tifffile.imwrite(path, samples, **{"metadata": None, **options})
    return path


@given
def test_a_public_case_of_two_pages_is_refused() -> None:
    with pytest.raises(ValueError, match="multi.tif: .*found 2 pages, expected one; save each page as a file"):
        load_image(CASES / "tiff_picture" / "multi.tif")


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"compression": "deflate", "predictor": True}, {"bigtiff": True, "byteorder": ">"}, {"tile": (16, 16)},
        {"compression": "lzw"},
    ],
)  # fmt: skip
def test_grey_of_every_type(tmp_path: Path, kind: str, options: Any) -> None:
    samples = (RANDOM.normal(scale=50, size=(6, 9)) if kind[0] != "u" else NUMBERS).astype(kind)
    if kind == "f2":
        options = {name: value for name, value in options.items() if name != "predictor"}
    image = load_image(write(tmp_path / "f.tif", samples, photometric="minisblack", **options))
    np.testing.assert_array_equal(pixels(image), samples.astype(np.float32))
    assert image.meta.get("full_scale") == {"u1": 255, "u2": 65535}.get(kind)
    np.testing.assert_array_equal(pixels(load_label(tmp_path / "f.tif")), samples.astype(np.float32))


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_colours_of_sixteen_bits(tmp_path: Path, planes: str) -> None:
    stored = COLOURS if planes == "contig" else np.moveaxis(COLOURS, -1, 0)
    image = load_image(write(tmp_path / "f.tiff", stored, photometric="rgb", planarconfig=planes))
    np.testing.assert_array_equal(pixels(image), COLOURS)
    reader = LoadImage("fedmed_transforms.PictureReader", image_only=True)
    np.testing.assert_array_equal(np.asarray(reader(tmp_path / "f.tiff")).swapaxes(0, 1), COLOURS)


def test_white_is_high_also_where_the_file_stores_it_as_zero(tmp_path: Path) -> None:
    file = write(tmp_path / "f.tif", NUMBERS, photometric="miniswhite")
    np.testing.assert_array_equal(pixels(load_image(file)), 255 - NUMBERS)
    np.testing.assert_array_equal(pixels(load_label(file)), NUMBERS)
    write(file, NUMBERS.astype(np.uint16), photometric="miniswhite")
    np.testing.assert_array_equal(pixels(load_image(file)), 65535.0 - NUMBERS)


def test_a_palette_is_shown_and_its_indices_are_labels(tmp_path: Path) -> None:
    numbers, colormap = NUMBERS % 4, np.zeros((3, 256), dtype=np.uint16)
    colormap[:, 1:4] = np.array([[128, 0, 0], [0, 128, 0], [9, 9, 200]]).T * 257
    file = write(tmp_path / "f.tif", numbers, photometric="palette", colormap=colormap)
    with Image.open(file) as image:
        np.testing.assert_array_equal(pixels(load_image(file)), np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(pixels(load_label(file)), numbers)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12])
def test_samples_of_unusual_bits(tmp_path: Path, bits: int) -> None:
    numbers = RANDOM.integers(0, 2**bits, (6, 9)).astype(np.uint16 if bits > 8 else np.uint8)
    if bits == 1:
        Image.fromarray(numbers.astype(bool)).save(tmp_path / "f.tif")
    else:
        options = {"bitspersample": bits, "compression": None}
        _write_packed(tmp_path / "f.tif", numbers, bits) if bits < 8 else write(tmp_path / "f.tif", numbers, **options)
    image = load_image(tmp_path / "f.tif")
    scale = 255 // (2**bits - 1) if bits < 8 else 1
    np.testing.assert_array_equal(pixels(image), numbers.astype(np.float32) * scale)
    assert image.meta["full_scale"] == (255 if bits < 8 else 2**bits - 1)
    np.testing.assert_array_equal(pixels(load_label(tmp_path / "f.tif")), numbers)


def _write_packed(path: Path, numbers: Any, bits: int) -> None:
    """Grey of 2 or 4 bits, each row filled to a whole byte."""
    rows = ["".join(f"{number:0{bits}b}" for number in row) for row in numbers]
    rows = [row + "0" * (-len(row) % 8) for row in rows]
    data = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
    height, width = numbers.shape
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 200), (277, 1), (278, height)]
    entries.append((279, len(data)))
    tags = b"".join(
        tag.to_bytes(2, "little") + b"\x03\0\x01\0\0\0" + value.to_bytes(4, "little") for tag, value in entries
    )
    head = b"II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little") + tags + b"\0\0\0\0"
    path.write_bytes(head.ljust(200, b"\0") + data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_turns_picture_and_label(tmp_path: Path, orientation: int) -> None:
    file = write(tmp_path / "f.tif", NUMBERS, photometric="minisblack", extratags=[(274, "H", 1, orientation, True)])
    turns: list[Callable[[Any], Any]] = [
        lambda a: a, np.fliplr, lambda a: a[::-1, ::-1], np.flipud, np.transpose, lambda a: np.rot90(a, -1),
        lambda a: a[::-1, ::-1].T, np.rot90,
    ]  # fmt: skip
    for load in (load_image, load_label):
        np.testing.assert_array_equal(pixels(load(file)), turns[orientation - 1](NUMBERS))


def test_alpha_must_be_opaque(tmp_path: Path) -> None:
    stored = np.concatenate([COLOURS, np.full((6, 9, 1), 65535, dtype=np.uint16)], axis=-1)
    file = write(tmp_path / "f.tif", stored, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(pixels(load_image(file)), COLOURS)
    stored[0, 0, 3] = 0
    write(file, stored, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(ValueError, match="f.tif: .*found transparent pixels"):
        load_image(file)


def test_colours_compressed_as_jpeg(tmp_path: Path) -> None:
    smooth = np.linspace(20, 220, 3 * 16 * 24).reshape(16, 24, 3).astype(np.uint8)
    file = write(tmp_path / "f.tif", smooth, photometric="rgb", compression="jpeg")
    assert np.abs(pixels(load_image(file)) - smooth).max() < 12
    with pytest.raises(ValueError, match="f.tif: .*found a label in a lossy format"):
        load_label(file)


def test_smaller_copies_of_the_picture_do_not_count(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "f.tif") as file:
        file.write(NUMBERS, metadata=None)
        file.write(NUMBERS[::2, ::2], subfiletype=1, metadata=None)
    np.testing.assert_array_equal(pixels(load_image(tmp_path / "f.tif")), NUMBERS)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: write(path, np.zeros((3, 6, 9), dtype=np.uint8), photometric="minisblack"), "3 pages, expected"),
        (lambda path: tifffile.imwrite(path, np.zeros((3, 6, 9), dtype=np.uint16), imagej=True), "3 pages|3 pictures"),
        (lambda path: write(path, np.zeros((16, 32, 32), np.uint8), photometric="minisblack", volumetric=True,
                            tile=(16, 16, 16)), "axes ZYX, expected rows"),
        (lambda path: write(path, np.zeros((6, 9, 4), dtype=np.uint8), photometric="separated"),
         "PhotometricInterpretation 5, expected"),
        (lambda path: write(path, np.zeros((6, 9, 5), dtype=np.uint8), photometric="minisblack", planarconfig="contig"),
         "5 samples a pixel, expected 1, or 1 and alpha"),
        (lambda path: write(path, np.zeros((6, 9), dtype=np.complex64)), "SampleFormat .*expected integers or floats"),
        (lambda path: write(path, np.full((6, 9), 2**24 + 1, dtype=np.uint32)), "integers from 16777217 to 16777217"),
        (lambda path: write(path, np.full((6, 9), np.nan, dtype=np.float32)), "voxels that .*the rule `nan`"),
        (lambda path: path.write_bytes(write(path, NUMBERS).read_bytes()[:-20]), r"\d+ bytes, expected all strips"),
        (lambda path: path.write_bytes(write(path, NUMBERS).read_bytes()[:40]), "a damaged TIFF, |0 pages"),
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, write: Callable[[Path], Any], reason: str) -> None:
    write(tmp_path / "f.tif")
    with pytest.raises(ValueError, match=f"f.tif: expected a readable picture, found ({reason})"):
        load_image(tmp_path / "f.tif")


def test_names_in_a_damaged_file_are_not_quoted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "f.tif", NUMBERS, description="Mustermann^Erika", software="Mustermann")
    content = (tmp_path / "f.tif").read_bytes()
    for place in range(0, len(content), 7):
        (tmp_path / "f.tif").write_bytes(content[:place] + b"\xff" * 5 + content[place + 5 :])
        try:
            load_image(tmp_path / "f.tif")
        except ValueError as error:
            assert str(tmp_path) in str(error) and "Mustermann" not in str(error)
    assert "Mustermann" not in caplog.text


def test_pages_in_a_circle_end(tmp_path: Path) -> None:
    """The second directory names itself as the next one."""
    write(tmp_path / "f.tif", np.zeros((2, 6, 9), dtype=np.uint8), photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "f.tif") as file:
        offset, tags = file.pages[1].offset, len(file.pages[1].aspage().tags)
    content = bytearray((tmp_path / "f.tif").read_bytes())
    after = offset + 2 + 12 * tags
    content[after : after + 4] = offset.to_bytes(4, "little")
    (tmp_path / "f.tif").write_bytes(content)
    with pytest.raises(ValueError, match="f.tif: .*found 2 pages, expected one"):
        load_image(tmp_path / "f.tif")
