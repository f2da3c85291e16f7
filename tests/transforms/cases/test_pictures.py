"""Pictures keep their depth, labels their stored numbers; alpha is opaque, or the picture is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import Compose, LoadImage
from PIL import Image, ImageOps

from fedmed_transforms import LabelsToChannelsd, LoadMedicalImaged, MatchedLabeld, load_image, load_label
from tests.transforms.cases.written_pictures import (
    COLOURS,
    COLOURS_ALPHA,
    GREY,
    GREY_ALPHA,
    PALETTE,
    exif,
    write_png,
)

CASES = Path(os.environ.get("FEDMED_DATA", "no folder")) / "cases"
DEEP = np.random.default_rng(0).integers(0, 65536, (3, 5, 4), dtype=np.uint16)
VOC = (b"PLTE", bytes([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]))

given = pytest.mark.skipif(not CASES.is_dir(), reason="FEDMED_DATA names no folder with cases")


def rows_of(values: Any) -> list[bytes]:
    return [row.astype(">u2").tobytes() for row in values]


def pixels(image: Any) -> Any:
    """(C, X, Y) -> (rows, columns) or (rows, columns, C)."""
    return np.asarray(image)[0].T if len(image) == 1 else np.asarray(image).transpose(2, 1, 0)


@given
@pytest.mark.parametrize(
    ("name", "load", "expected"),
    [
        ("png_grey_alpha_16_bit/ga16.png", load_image, [[0, 1, 300], [65535, 40000, 256]]),
        ("png_grey_2_bit_labels/g2.png", load_image, [[0, 85, 170, 255]]),
        ("png_grey_2_bit_labels/g2.png", load_label, [[0, 1, 2, 3]]),
        ("png_palette_labels/pal.png", load_image, [[[0, 0, 0], [128, 0, 0], [0, 128, 0]]]),
        ("png_palette_labels/pal.png", load_label, [[0, 1, 2]]),
        ("png_palette_labels/palg.png", load_image, [[0, 1, 2]]),
        ("png_palette_labels/palg.png", load_label, [[0, 1, 2]]),
        ("tiff_picture/x.tif", load_image, [[0, 1, 300], [65535, 40000, 256]]),
    ],
)
def test_public_cases(name: str, load: Callable[..., Any], expected: Any) -> None:
    np.testing.assert_array_equal(pixels(load(CASES / name)), expected)


@pytest.mark.parametrize(("colour", "channels"), [(COLOURS, 3), (COLOURS_ALPHA, 4), (GREY_ALPHA, 2), (GREY, 1)])
def test_sixteen_bits_of_every_kind(tmp_path: Path, colour: int, channels: int) -> None:
    stored = DEEP[..., :channels].copy()
    if colour in (COLOURS_ALPHA, GREY_ALPHA):
        stored[..., -1] = 65535
    image = load_image(write_png(tmp_path / "f.png", rows_of(stored), 5, 16, colour))
    seen = stored[..., :3] if channels > 2 else stored[..., 0]
    np.testing.assert_array_equal(pixels(image), seen)
    assert image.meta["full_scale"] == 65535
    reader = LoadImage("fedmed_transforms.PictureReader", image_only=True)
    np.testing.assert_array_equal(np.asarray(reader(tmp_path / "f.png")).swapaxes(0, 1), seen)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("depth", "colour"), [(16, COLOURS), (16, GREY), (8, GREY), (8, PALETTE)])
def test_every_orientation_of_every_depth(tmp_path: Path, orientation: int, depth: int, colour: int) -> None:
    """The reference is Pillow's turn of a picture of 8 bits, also for labels and for colours of 16 bits."""
    numbers = np.arange(15, dtype=np.uint8).reshape(3, 5)
    stored = numbers[..., None].repeat(3 if colour == COLOURS else 1, axis=2)
    rows = rows_of(stored) if depth == 16 else [row.tobytes() for row in stored]
    palette = [(b"PLTE", bytes(range(45)))] if colour == PALETTE else []
    file = write_png(tmp_path / "f.png", rows, 5, depth, colour, *palette, (b"eXIf", exif(orientation)))
    turned = Image.fromarray(numbers)
    turned.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(turned))
    found = pixels(load_label(file))
    np.testing.assert_array_equal(found[..., 0] if found.ndim == 3 else found, expected)
    assert load_image(file).shape[1:] == expected.shape[::-1]


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("colour", [GREY, PALETTE])
def test_few_bits_are_shown_spread_and_stored_as_they_are(tmp_path: Path, bits: int, colour: int) -> None:
    numbers = np.arange(8, dtype=np.uint8) % 2**bits
    packed = int("".join(f"{number:0{bits}b}" for number in numbers), 2).to_bytes(bits, "big")
    palette = [(b"PLTE", bytes(value for n in range(2**bits) for value in (9 * n, 7, n)))] if colour else []
    file = write_png(tmp_path / "f.png", [packed], 8, bits, colour, *palette)
    np.testing.assert_array_equal(pixels(load_label(file))[0], numbers)
    shown = [[9 * n, 7, n] for n in numbers] if colour else numbers * (255 // (2**bits - 1))
    np.testing.assert_array_equal(pixels(load_image(file))[0], shown)


def test_labels_of_a_site_are_read_by_their_key(tmp_path: Path) -> None:
    """The chain of the bundles and of docs/loading.md, without a word about pictures."""
    Image.fromarray(np.zeros((2, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    rows = [bytes([0, 1, 2]), bytes([2, 2, 0])]
    write_png(tmp_path / "label.png", rows, 3, 8, PALETTE, VOC, (b"tRNS", bytes([0])))
    files = {"image": str(tmp_path / "image.png"), "label": str(tmp_path / "label.png")}
    chain = [LabelsToChannelsd("label", {"disc": [1, 2], "cup": [2]}), MatchedLabeld("label", image_key="image")]
    label = Compose([LoadMedicalImaged(["image", "label"]), *chain])(files)["label"]
    assert label[0].T.tolist() == [[0, 1, 1], [1, 1, 0]] and label[1].T.tolist() == [[0, 0, 1], [1, 1, 0]]
    other = LoadMedicalImaged(["image", "mask"], label_keys="mask")({**files, "mask": files["label"]})
    assert other["mask"].unique().tolist() == [0, 1, 2]


def test_a_label_that_was_loaded_as_it_looks_is_refused_with_advice(tmp_path: Path) -> None:
    files = {"label": str(write_png(tmp_path / "label.png", [bytes([0, 1, 2])], 3, 8, PALETTE, VOC))}
    channels = LabelsToChannelsd("label", {"disc": [1, 2]})
    with pytest.raises(ValueError, match=r"label.png: expected labels .*found \(3, 3, 1\); .*label_keys"):
        channels(LoadMedicalImaged("label", label_keys=())(files))
    assert channels(LoadMedicalImaged("label", label_keys="label")(files))["label"].sum() == 2
    write_png(tmp_path / "label.png", [bytes([0b00011011])], 4, 2, GREY)
    with pytest.raises(ValueError, match="label.png: found the label values 85, 170, 255, .*load_label"):
        channels({"label": load_image(tmp_path / "label.png")})


KEY = (b"tRNS", b"\0\x07")
TRANSPARENT: list[tuple[str, Callable[[Path], Path]]] = [
    ("RGBA", lambda path: write_png(path, [bytes([1, 2, 3, 254])], 1, 8, COLOURS_ALPHA)),
    ("LA", lambda path: write_png(path, [bytes([1, 0])], 1, 8, GREY_ALPHA)),
    ("RGBA of 16 bits", lambda path: write_png(path, [b"\0\1\0\2\0\3\xff\xfe"], 1, 16, COLOURS_ALPHA)),
    ("LA of 16 bits", lambda path: write_png(path, [b"\0\1\0\0"], 1, 16, GREY_ALPHA)),
    ("palette", lambda path: write_png(path, [b"\1"], 1, 8, PALETTE, VOC, (b"tRNS", bytes([255, 9])))),
    ("grey key", lambda path: write_png(path, [b"\7\1"], 2, 8, GREY, KEY)),
    ("grey key of 16 bits", lambda path: write_png(path, [b"\0\7\0\1"], 2, 16, GREY, KEY)),
    ("colour key", lambda path: write_png(path, [b"\1\2\3"], 1, 8, COLOURS, (b"tRNS", b"\0\1\0\2\0\3"))),
    ("colour key of 16 bits",
     lambda path: write_png(path, [b"\0\1\0\2\0\3"], 1, 16, COLOURS, (b"tRNS", b"\0\1\0\2\0\3"))),
]  # fmt: skip


@pytest.mark.parametrize("write", [write for _, write in TRANSPARENT], ids=[name for name, _ in TRANSPARENT])
def test_transparent_pixels_are_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    with pytest.raises(ValueError, match="f.png: .*found transparent pixels, expected an opaque picture.*flatten"):
        load_image(write(tmp_path / "f.png"))


@pytest.mark.parametrize(
    ("rows", "columns", "depth", "colour", "chunks", "expected"),
    [
        ([b"\1\1"], 2, 8, GREY, [KEY], [[1, 1]]),
        ([b"\0\1\0\1"], 2, 16, GREY, [KEY], [[1, 1]]),
        ([b"\0"], 1, 8, PALETTE, [VOC, (b"tRNS", bytes([255, 9]))], [[0]]),
        ([b"\3\2\1"], 1, 8, COLOURS, [(b"tRNS", b"\0\1\0\2\0\3")], [[[3, 2, 1]]]),
        ([b"\0\3\0\2\0\1"], 1, 16, COLOURS, [(b"tRNS", b"\0\1\0\2\0\3")], [[[3, 2, 1]]]),
    ],
)
def test_a_transparent_colour_that_no_pixel_has_changes_nothing(
    tmp_path: Path, rows: Any, columns: int, depth: int, colour: int, chunks: Any, expected: Any
) -> None:
    image = load_image(write_png(tmp_path / "f.png", rows, columns, depth, colour, *chunks))
    np.testing.assert_array_equal(pixels(image), expected)
