"""The rule `volume` beside the other rules, in studies and in zips."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from pydicom.uid import SecondaryCaptureImageStorage

from fedmed_transforms import (
    DicomReader,
    LoadMedicalImaged,
    SaveSegmentationd,
    find_studies,
    load_image,
    read_segmentation,
)
from tests.transforms.cases.written_series import CT, expected, write_series, write_slice

ECHOES = [{"EchoNumbers": 1}, {"EchoNumbers": 2}]


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"uneven": "resample"}, lambda p: [1.0, 2.0, (0.0, 3.0, 9.0)[p]]),
        ({"tilt": "shear"}, lambda p: [1.0, 2.0 + 2.0 * p, 3.0 * p]),
    ],
)
def test_an_irregular_volume_becomes_regular(tmp_path: Path, rule: dict[str, Any], place: Any) -> None:
    """Each channel is the volume of its number, made regular; without its rule it is refused."""
    folder = write_series(tmp_path / "s", [{**echo, "ImagePositionPatient": place} for echo in ECHOES])
    for volume in ("first", 1, "channels"):
        with pytest.raises(ValueError, match=next(iter(rule))):
            load_image(folder, volume=volume)
    channels = load_image(folder, volume="channels", **rule)
    for number in (0, 1):
        image = load_image(folder, volume=number, **rule)
        torch.testing.assert_close(channels.as_tensor()[number], image.as_tensor()[0])
        np.testing.assert_allclose(channels.affine, image.affine)
    assert channels.meta["resampled"] == "yes"


def test_a_series_and_a_volume_are_chosen(tmp_path: Path) -> None:
    write_series(tmp_path / "s" / "1", ECHOES)
    write_series(tmp_path / "s" / "2", [{**CT, "SeriesInstanceUID": "1.2.3.9"}])
    image = load_image(tmp_path / "s", series={"Modality": "MR"}, volume=1)
    np.testing.assert_array_equal(image.as_tensor()[0], expected(1))


@pytest.mark.parametrize("duplicates", ["refuse", "drop"])
def test_duplicates_are_not_dropped_where_a_volume_is_chosen(tmp_path: Path, duplicates: str) -> None:
    folder = write_series(tmp_path / "s", ECHOES)
    image = load_image(folder, volume=1, duplicates=duplicates)
    np.testing.assert_array_equal(image.as_tensor()[0], expected(1))


def test_the_rule_is_one_of_the_transform_and_of_the_reader(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", ECHOES)
    loaded = LoadMedicalImaged("image", rules={"volume": 1})({"image": folder})["image"]
    np.testing.assert_array_equal(loaded.as_tensor()[0], expected(1))
    assert DicomReader(volume="channels").load(folder)[0].shape == (2, 5, 6, 3)


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", ECHOES)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    image = load_image(tmp_path / "s.zip", volume=1)
    np.testing.assert_array_equal(image.as_tensor()[0], expected(1))
    mask = MetaTensor((image.as_tensor() > 110).float(), meta=dict(image.meta))
    SaveSegmentationd("mask", str(tmp_path / "out"), ["organ"])({"mask": mask})
    (file,) = (tmp_path / "out").iterdir()
    assert int(read_segmentation(file)[0].sum()) == int(mask.sum())


def test_a_study_of_several_volumes(tmp_path: Path) -> None:
    write_series(tmp_path / "s", ECHOES)
    pixels = np.zeros((9, 8), dtype=np.uint16)
    capture = {"SOPClassUID": SecondaryCaptureImageStorage, "SeriesInstanceUID": "1.2.3.9"}
    write_slice(tmp_path / "s" / "dose.dcm", pixels, None, 1, {}, **capture)
    (item,) = find_studies(str(tmp_path / "s"), {"volume": "first"})
    assert item["passed_over"].endswith("holds secondary captures") and len(item["image"]) == 6
    np.testing.assert_array_equal(load_image(item["image"], volume="first").as_tensor()[0], expected(0))


def test_a_study_of_captures_alone_is_taken(tmp_path: Path) -> None:
    pixels = np.zeros((9, 8), dtype=np.uint16)
    write_slice(tmp_path / "c.dcm", pixels, None, 1, {}, SOPClassUID=SecondaryCaptureImageStorage)
    (item,) = find_studies(str(tmp_path))
    assert item["series"] == "1.2.3.4"
