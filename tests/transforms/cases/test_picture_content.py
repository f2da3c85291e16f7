"""Files whose content is not what their name says, pictures of several frames, and unusual colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from fedmed_transforms import load_image, load_label

SMOOTH = np.linspace(20, 220, 120).reshape(10, 12).astype(np.uint8)


def picture(kind: str, **options: Any) -> Callable[[Path], Any]:
    return lambda path: Image.fromarray(SMOOTH).save(path, kind, **options)


def dicom(path: Path) -> None:
    path.write_bytes(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes())


def nifti(path: Path) -> None:
    path.write_bytes(nib.Nifti1Image(np.zeros((2, 3, 4), dtype=np.uint8), np.eye(4)).to_bytes())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "JPEG"])
@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff", ".jpg", ".JPEG"])
def test_a_picture_is_read_by_its_content(tmp_path: Path, kind: str, ending: str) -> None:
    picture(kind)(tmp_path / f"f{ending}")
    found = np.asarray(load_image(tmp_path / f"f{ending}"))[0].T
    assert np.abs(found - SMOOTH).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("ending", "write", "named"),
    [
        (".png", dicom, "DICOM content under another format's name; give the file the ending .dcm"),
        (".jpg", nifti, "NIfTI content under another format's name; give the file the ending .nii"),
        (".png", picture("GIF"), "GIF content under another format's name"),
        (".png", picture("WEBP", lossless=True), "WebP content under another format's name"),
        (".tif", picture("JPEG2000"), "JPEG 2000 content under another format's name"),
        (".nii", picture("PNG"), "PNG content under another format's name; give the file the ending .png"),
        (".nii.gz", dicom, "DICOM content under another format's name; give the file the ending .dcm"),
        (".dcm", picture("PNG"), "PNG content under another format's name; give the file the ending .png"),
        (".dcm", nifti, "NIfTI content under another format's name; give the file the ending .nii"),
        (".nrrd", nifti, "NIfTI content under another format's name; give the file the ending .nii"),
        (".mha", picture("TIFF"), "TIFF content under another format's name; give the file the ending .tif"),
        ("", picture("PNG"), "PNG content; give the file the ending .png"),
    ],
)
def test_other_content_is_refused_by_its_name_and_the_advice_loads_it(
    tmp_path: Path, ending: str, write: Callable[[Path], Any], named: str
) -> None:
    file = tmp_path / f"f{ending}"
    write(file)
    with pytest.raises(ValueError, match=f"f{ending}: expected .*found {named}$"):
        load_image(file)
    if "ending " in named:
        assert load_image(file.rename(tmp_path / f"g{named.split()[-1]}")).numel()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
def test_a_label_of_lossy_content_is_refused_whatever_its_name(tmp_path: Path, ending: str) -> None:
    picture("JPEG")(tmp_path / f"f{ending}")
    with pytest.raises(ValueError, match=f"f{ending}: .*found a label in a lossy format"):
        load_label(tmp_path / f"f{ending}")


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(SMOOTH), Image.fromarray(255 - SMOOTH)]
    frames[0].save(tmp_path / "f.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="f.png: .*found 2 pictures .*expected one; save each as a file of its own"):
        load_image(tmp_path / "f.png")


def test_a_camera_s_file_gives_its_first_picture(tmp_path: Path) -> None:
    """Phones append small pictures to a JPEG (MPO); viewers show the first."""
    frames = [Image.fromarray(SMOOTH), Image.fromarray(SMOOTH[:5, :6])]
    frames[0].save(tmp_path / "f.jpg", "MPO", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "f.jpg") as image:
        assert image.format == "MPO"
        np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "f.jpg"))[0].T, np.asarray(image))


def test_printers_colours_are_those_that_pillow_shows(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    Image.fromarray(stored, "CMYK").save(tmp_path / "f.jpg", quality=100)
    with Image.open(tmp_path / "f.jpg") as image:
        assert image.mode == "CMYK"
        shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "f.jpg")).transpose(2, 1, 0), shown)


@pytest.mark.parametrize("colours", [2, 3, 12, 200])
def test_palettes_of_bitmaps(tmp_path: Path, colours: int) -> None:
    numbers = (np.arange(60, dtype=np.uint8) % colours).reshape(6, 10)
    image = Image.fromarray(numbers, "P")
    image.putpalette([value for n in range(256) for value in (n, 255 - n, 7)])
    image.save(tmp_path / "f.bmp")
    np.testing.assert_array_equal(np.asarray(load_label(tmp_path / "f.bmp"))[0].T, numbers)
    shown = np.stack([numbers, 255 - numbers, np.full_like(numbers, 7)])
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "f.bmp")), shown.transpose(0, 2, 1))
