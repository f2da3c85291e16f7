"""Tests the images found in a folder: series, pictures, and files that are no images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fedmed_transforms.loading.find import find_images, first_file, list_images


def text_as(path: Path) -> Path:
    path.write_text("no image at all")
    return path


def test_listing_passes_over_what_systems_leave_behind(tmp_path: Path, letter: Any) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        text_as(tmp_path / name)
    for name in ("b.png", "a.PNG"):
        Image.fromarray(letter).save(tmp_path / name)
    assert [path.name for path in list_images(tmp_path)] == ["a.PNG", "b.png"]


def test_listing_refuses_what_is_no_image(tmp_path: Path) -> None:
    text_as(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"notes\.txt: expected"):
        list_images(tmp_path)


def test_listing_takes_a_folder_with_one_series(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for number in (1, 2):
        save_dicom(series / f"{number}.dcm", letter, number=number, position=number)
    text_as(series / ".DS_Store")
    assert list_images(tmp_path) == [series]
    assert first_file(series) == series / "1.dcm"
    save_dicom(series / "3.dcm", letter, SeriesInstanceUID="1.2.3")
    with pytest.raises(ValueError, match="one DICOM series"):
        list_images(tmp_path)


def test_finding_goes_below_folders(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    series = tmp_path / "deep" / "series"
    series.mkdir(parents=True)
    for number in (1, 2):
        save_dicom(series / f"{number}.dcm", letter, number=number)
    Image.fromarray(letter).save(tmp_path / "f.png")
    assert [item["image"] for item in find_images(str(tmp_path))] == [str(tmp_path / "f.png"), str(series)]
    with pytest.raises(ValueError, match="nowhere"):
        find_images(str(tmp_path / "nowhere"))


def test_a_series_among_other_images_is_refused(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    for number in (1, 2):
        save_dicom(tmp_path / f"{number}.dcm", letter, number=number, position=number)
    Image.fromarray(letter).save(tmp_path / "key.png")
    with pytest.raises(ValueError, match=r"found the DICOM series .* \(2 files\) among other images"):
        find_images(str(tmp_path))
