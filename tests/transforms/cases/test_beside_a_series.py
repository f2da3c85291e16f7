"""What lies beside the images of a series in a folder: passed over and said once, without a patient's name."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels import compress
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage

from fedmed_transforms import find_studies, load_image
from fedmed_transforms.dicom.folder.passed_over import say_once
from fedmed_transforms.loading.find import list_images
from tests.transforms.cases.written_series import CT, expected, write_series, write_slice

CAPTURE = {"SOPClassUID": SecondaryCaptureImageStorage, "Modality": "CT", "SeriesInstanceUID": "1.2.3.9"}
DOSE = {**CT, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "SeriesInstanceUID": "1.2.3.9"}
LOCALISER = {**CT, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesInstanceUID": "1.2.3.9"}
WITHIN = {**CAPTURE, "SeriesInstanceUID": "1.2.3.4"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    say_once.cache_clear()
    return write_series(tmp_path / "study", [{**CT, "PatientName": "Doe^Jane"}])


def put(folder: Path, values: dict[str, Any], placed: bool = False, count: int = 1) -> None:
    for number in range(count):
        pixels = np.zeros((9, 8), dtype=np.uint16)
        place = (0, 0, 5.0 * number) if placed else None
        write_slice(folder / f"x{number}.dcm", pixels, place, number + 1, {}, PatientName="Doe^Jane", **values)


@pytest.mark.parametrize(
    ("values", "placed", "said"),
    [
        (CAPTURE, False, "passed over a series of secondary captures, 1.2.3.9 (CT, 1 files, 8x9)"),
        (DOSE, False, "passed over a series of secondary captures, 1.2.3.9 (CT, 1 files, 8x9)"),
        (LOCALISER, True, "passed over a series of localisers, 1.2.3.9 (CT, 1 files, 8x9)"),
        (WITHIN, False, "passed over 1 files of secondary captures among the images"),
    ],
)
def test_pictures_beside_a_series(
    folder: Path, values: dict[str, Any], placed: bool, said: str, caplog: Any
) -> None:
    put(folder, values, placed)
    for _ in range(2):
        np.testing.assert_array_equal(load_image(folder).as_tensor()[0], expected(0))
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert messages == [f"{folder}: {said}"] and "Doe" not in caplog.text
    assert list_images(folder.parent) == [folder]
    (item,) = find_studies(str(folder))
    assert len(item["image"]) == 3 or values is WITHIN
    np.testing.assert_array_equal(load_image(item["image"]).as_tensor()[0], expected(0))


def test_reports_beside_a_series(folder: Path, caplog: Any) -> None:
    shutil.copy(Path(pydicom.__file__).parent / "data/test_files/reportsi.dcm", folder / "report.dcm")
    assert load_image(folder).shape == (1, 5, 6, 3)
    assert f"{folder}: passed over 1 files without an image" in caplog.messages
    assert list_images(folder.parent) == [folder]


@pytest.mark.parametrize(("values", "placed"), [(CAPTURE, False), (DOSE, False), (LOCALISER, True)])
@pytest.mark.parametrize("series", [None, "1.2.3.9", "largest"])
def test_they_are_images_where_nothing_else_is(
    folder: Path, values: dict[str, Any], placed: bool, series: str | None, caplog: Any
) -> None:
    """A localiser, or a capture, is what is wanted where it lies alone, or where the rule names it."""
    put(folder, values, placed)
    if series != "1.2.3.9":
        for file in folder.glob("[0-9]*.dcm"):
            file.unlink()
    spacing = None if placed else (1, 1, 1)
    assert load_image(folder, series=series, assume_spacing=spacing).shape[1:3] == (8, 9)
    assert not caplog.records


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (CAPTURE, {"SOPClassUID": SecondaryCaptureImageStorage.replace(".", r"\.")}),
        (LOCALISER, {"ImageType": ".*LOCALIZER"}),
    ],
)
def test_they_are_images_where_the_rule_asks_for_them(folder: Path, values: dict[str, Any], rule: Any) -> None:
    put(folder, values, values is LOCALISER)
    spacing = None if values is LOCALISER else (1, 1, 1)
    assert load_image(folder, series=rule, assume_spacing=spacing).shape[1:3] == (8, 9)


def test_the_largest_series_is_one_of_images(folder: Path) -> None:
    put(folder, LOCALISER, placed=True, count=5)
    assert load_image(folder, series="largest").shape == (1, 5, 6, 3)


def test_single_images_beside_each_other_stay_images(tmp_path: Path) -> None:
    """One image and one capture in a class' folder: each is an image of its own."""
    folder = write_series(tmp_path / "class", [CT], positions=1)
    put(folder, CAPTURE)
    with pytest.raises(ValueError, match="class: expected a jpg"):
        list_images(folder.parent)
    assert len(list_images(folder)) == 2


def test_two_series_of_images_are_still_refused(folder: Path) -> None:
    put(folder, {**CT, "SeriesInstanceUID": "1.2.3.9"}, placed=True)
    with pytest.raises(ValueError, match="expected one; choose with the rule `series`; found 2 series"):
        load_image(folder)


def same(file: Path) -> None:
    shutil.copy(file, file.with_name("copy.dcm"))


def other_encoding(file: Path) -> None:
    dicom = pydicom.dcmread(file)
    dicom.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    dicom.save_as(file.with_name("copy.dcm"), implicit_vr=True, enforce_file_format=True)


@pytest.mark.parametrize("copied", [same, other_encoding])
def test_the_same_instance_twice_counts_once(folder: Path, copied: Callable[[Path], None], caplog: Any) -> None:
    copied(sorted(folder.iterdir())[0])
    image = load_image(folder)
    np.testing.assert_array_equal(image.as_tensor()[0], expected(0))
    assert caplog.messages == [f"{folder}: passed over 1 files that hold an instance a second time"]
    assert len(image.meta["source_instances"].split("\\")) == 3
    np.testing.assert_array_equal(load_image(folder, volume="channels").as_tensor()[0], expected(0))


def other_pixels(dicom: pydicom.Dataset) -> None:
    dicom.PixelData = bytes(len(dicom.PixelData))


def other_number(dicom: pydicom.Dataset) -> None:
    dicom.InstanceNumber = 99


@pytest.mark.parametrize("change", [other_pixels, other_number, lambda dicom: compress(dicom, RLELossless)])
def test_one_uid_of_two_contents_is_refused(folder: Path, change: Callable[[Any], None]) -> None:
    """Only pixels that are the same are dropped, and only by the rule that the message names."""
    dicom = pydicom.dcmread(sorted(folder.iterdir())[0])
    uid = dicom.SOPInstanceUID
    change(dicom)
    dicom.SOPInstanceUID = uid
    dicom.save_as(folder / "other.dcm")
    with pytest.raises(ValueError, match=r"other\.dcm: expected another SOPInstanceUID .*duplicates='drop'"):
        load_image(folder, volume="first")
    if change is other_pixels:
        with pytest.raises(ValueError, match="1 of them with different pixels"):
            load_image(folder, duplicates="drop")
    else:
        np.testing.assert_array_equal(load_image(folder, duplicates="drop").as_tensor()[0], expected(0))
