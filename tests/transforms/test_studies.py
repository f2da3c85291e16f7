"""A clinic's folder to images: which series of a study is taken, what is passed over, and what results are called."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from fedmed_transforms import load_image, write_report, write_segmentation
from fedmed_transforms.studies import Item, find_studies

SaveSeries = Callable[..., Path]


@pytest.fixture
def clinic(tmp_path: Path, save_series: SaveSeries, save_dicom: Callable[..., Path]) -> Path:
    """A study as it comes from an archive: images, a localiser, earlier results, a presentation state, a viewer."""
    study = tmp_path / "STUDY"
    series = save_series(study / "SE1", SeriesInstanceUID="1.2.3.4.1", SeriesNumber=3, SeriesDescription="thorax")
    for number in (1, 2):
        save_dicom(
            study / f"scout{number}", np.zeros((9, 6), np.uint16), number=number, SeriesInstanceUID="1.2.3.4.2",
            StudyInstanceUID="1.2.3.4", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        )  # fmt: skip
    mask = MetaTensor(torch.ones(1, 6, 9, 5), affine=load_image(series).affine)
    write_segmentation(mask, series, study / "results" / "SEG", ["organ"])
    write_report({"a": 1.0}, series, study / "results" / "SR.dcm")
    state = pydicom.dcmread(series / "a.dcm", stop_before_pixels=True)
    state.SOPClassUID, state.Modality = GrayscaleSoftcopyPresentationStateStorage, "PR"
    state.SeriesInstanceUID = "1.2.3.4.3"
    for keyword in ("Rows", "Columns"):
        del state[keyword]
    state.save_as(study / "PR1")
    for file in series.iterdir():
        file.rename(file.with_suffix(""))
    (study / "DICOMDIR").write_bytes(b"a list")
    (study / "viewer").mkdir()
    (study / "viewer" / "start.exe").write_bytes(b"MZ")
    return study


def flattened(study: Path) -> Path:
    """The same files in one folder."""
    flat = study.with_name("FLAT")
    flat.mkdir()
    for number, file in enumerate(sorted(path for path in study.rglob("*") if path.is_file())):
        name = file.name if file.name in ("DICOMDIR", "start.exe") else f"{number:04d}"
        (flat / name).write_bytes(file.read_bytes())
    return flat


def only(items: list[Item]) -> Item:
    (item,) = items
    return item


@pytest.mark.parametrize("flat", [False, True])
def test_the_series_of_images_is_taken(clinic: Path, flat: bool, caplog: pytest.LogCaptureFixture) -> None:
    study = flattened(clinic) if flat else clinic
    with caplog.at_level(logging.WARNING):
        item = only(find_studies(str(study)))
    assert (item["study"], item["series"]) == ("1.2.3.4", "1.2.3.4.1")
    assert item["path"] == str(study if flat else study / "SE1")
    assert item["name"] == ("FLAT" if flat else "SE1")
    assert len(item["image"]) == 5
    for said in (
        "1.2.3.4.2 (MR, 2 files, 6x9): holds localisers",
        "1.2.3.4.3 (PR, 1 files, no image, series number 3, 'thorax'): holds no image",
        f"(SEG, 1 files, 6x9, series number 900, 'FedMed {version('fedmed')}'): is computed from images",
        f"(SR, 1 files, no image, series number 901, 'FedMed {version('fedmed')}'): holds no image",
    ):  # fmt: skip
        assert said in item["passed_over"]
    assert "Doe" not in item["passed_over"]
    assert f"{study}: passed over 1 files that are no images" in caplog.text
    loaded, expected = load_image(item["image"]), load_image(clinic, series="1.2.3.4.1")
    assert torch.equal(loaded.as_tensor(), expected.as_tensor()) and torch.equal(loaded.affine, expected.affine)
    assert loaded.meta["filename_or_obj"] == item["path"]


@pytest.fixture
def two_series(tmp_path: Path, save_series: SaveSeries) -> Path:
    study = tmp_path / "study"
    save_series(study / "b", SeriesInstanceUID="1.2.1", SeriesNumber=1, SeriesDescription="lung\twindow", Modality="CT")
    save_series(study / "a", SeriesInstanceUID="1.2.2", SeriesNumber=2, SeriesDescription="soft" * 20)
    for name in "bcd":
        (study / "b" / f"{name}.dcm").unlink()
    return study


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("largest", "1.2.2"),
        ("1.2.1", "1.2.1"),
        ({"Modality": "MR"}, "1.2.2"),
        ({"SeriesDescription": "lung.*", "Modality": "C."}, "1.2.1"),
        ({"SeriesNumber": "[2-4]"}, "1.2.2"),
    ],
)
def test_a_rule_chooses(two_series: Path, rule: Any, expected: str) -> None:
    item = only(find_studies(str(two_series), {"series": rule}))
    assert item["series"] == expected
    assert {Path(file).parent.name for file in item["image"]} == {"b" if expected == "1.2.1" else "a"}
    assert {"1.2.1": "1.2.2 (", "1.2.2": "1.2.1 ("}[expected] in item["passed_over"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (None, "expected one series of images, found 2;"),
        ({"Modality": "PT"}, "that matches {'Modality': 'PT'}, found none;"),
        ("1.2.9", "that matches '1.2.9', found none;"),
        ({"Modality": "CT|MR"}, "found 2;"),
    ],
)
def test_none_or_several_series_are_an_error_of_the_study(two_series: Path, rule: Any, said: str) -> None:
    item = only(find_studies(str(two_series), {"series": rule}))
    assert set(item) == {"path", "study", "error"} and item["path"] == str(two_series)
    assert item["error"].startswith(f"{two_series}: expected one series of images") and said in item["error"]
    assert "1.2.1 (CT, 2 files, 6x9, series number 1, 'lung window')" in item["error"]
    assert f"series number 2, '{'soft' * 10}')" in item["error"]
    assert "Doe" not in item["error"]


def test_a_rule_may_take_a_localiser_or_some_files_of_a_series(clinic: Path) -> None:
    assert only(find_studies(str(clinic), {"series": {"ImageType": ".*LOCALIZER"}}))["series"] == "1.2.3.4.2"
    assert only(find_studies(str(clinic), {"series": "1.2.3.4.2"}))["series"] == "1.2.3.4.2"
    item = only(find_studies(str(clinic), {"series": {"InstanceNumber": "[2-4]", "SeriesNumber": "3"}}))
    assert len(item["image"]) == 3 and item["passed_over"].endswith("2 of the 5 files of 1.2.3.4.1")


def test_studies_in_one_folder_are_told_apart(tmp_path: Path, save_series: SaveSeries) -> None:
    for number in (1, 2):
        folder = save_series(tmp_path / f"s{number}", StudyInstanceUID=f"1.{number}", SeriesInstanceUID=f"1.2.{number}")
        (tmp_path / "incoming" / "deep").mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            file.rename(tmp_path / "incoming" / "deep" / f"{number}{file.name}")
        folder.rmdir()
    items = find_studies(str(tmp_path / "incoming"))
    assert [(item["study"], item["name"], len(item["image"])) for item in items] == [
        ("1.1", "deep/1.2.1", 5), ("1.2", "deep/1.2.2", 5),
    ]  # fmt: skip
    assert [item["name"] for item in find_studies(str(tmp_path / "incoming" / "deep"))] == ["1.2.1", "1.2.2"]


def test_a_damaged_file_refuses_the_series_beside_it_alone(tmp_path: Path, save_series: SaveSeries) -> None:
    """It may be the slice that nobody would miss, the last one."""
    for name in "ab":
        save_series(tmp_path / "all" / name, StudyInstanceUID=f"1.{ord(name)}")
    (tmp_path / "all" / "a" / "d.dcm").write_bytes(b"torn")
    good, *bad = sorted(find_studies(str(tmp_path / "all")), key=lambda item: "error" in item)
    assert good["path"] == str(tmp_path / "all" / "b")
    assert [Path(item["path"]).name for item in bad] == ["a", "d.dcm"]
    assert "found a damaged file beside them" in bad[0]["error"] and "a/d.dcm: expected a DICOM" in bad[0]["error"]


def test_a_file_without_any_dicom_is_a_damaged_slice_where_it_is_named_like_one(
    tmp_path: Path, save_series: SaveSeries
) -> None:
    save_series(tmp_path / "cd")
    for number, slice_of_it in enumerate(sorted((tmp_path / "cd").iterdir())):
        slice_of_it.rename(tmp_path / "cd" / f"IM{number:04}")
    (tmp_path / "cd" / "README").write_text("passed over")
    assert "error" not in find_studies(str(tmp_path / "cd"))[0]
    for content in (b"", bytes(2000)):
        (tmp_path / "cd" / "IM0005").write_bytes(content)
        study, lost = find_studies(str(tmp_path / "cd"))
        assert "found a damaged file beside them" in study["error"]
        assert lost["error"].endswith("IM0005: expected a DICOM file like those beside it, found something else")


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    return path


def test_results_are_called_as_their_images(tmp_path: Path, save_series: SaveSeries, save_dicom: Any) -> None:
    for name in ("a/x.png", "b/x.png", "c/x.png", "c/x.jpg", "y.bmp"):
        picture(tmp_path / name)
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "b" / "s.v2.nii.gz")
    save_series(tmp_path / "b" / "s", SeriesInstanceUID="1.2.8")
    save_series(tmp_path / "b" / "s.v2", SeriesInstanceUID="1.2.9", StudyInstanceUID="1.5")
    save_dicom(tmp_path / "b" / "z.dcm", np.zeros((2, 2), np.uint8), StudyInstanceUID="1.6")
    names = {Path(item["path"]).relative_to(tmp_path).as_posix(): item["name"] for item in find_studies(str(tmp_path))}
    assert names == {
        "a/x.png": "a/x", "b/x.png": "b/x", "c/x.png": "c/x.png", "c/x.jpg": "c/x.jpg", "y.bmp": "y",
        "b/s": "b/s", "b/s.v2": "b/s.v2/1.2.9", "b/s.v2.nii.gz": "b/s.v2.nii.gz", "b/z.dcm": "b/z",
    }  # fmt: skip


def test_one_file_or_a_list_of_paths(tmp_path: Path, save_series: SaveSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.png")
    assert only(find_studies(str(first))) == {
        "image": str(first), "path": str(first), "study": "", "series": "", "passed_over": "", "name": "x",
    }  # fmt: skip
    assert [item["name"] for item in find_studies([str(first), str(second)])] == ["a/x", "b/x"]
    series = save_series(tmp_path / "series")
    item = only(find_studies(str(series / "b.dcm")))
    assert (item["image"], item["name"]) == ([str(series / "b.dcm")], "b")
    monkeypatch.chdir(tmp_path)
    assert [item["name"] for item in find_studies(["a", str(tmp_path / "b")])] == ["a/x", "b/x"]
    assert only(find_studies("series"))["name"] == "series"


def test_a_dicomdir_lists_its_studies() -> None:
    source = get_testdata_file("DICOMDIR", download=False)
    items = find_studies(str(source), {"series": "largest"})
    assert len(items) == 6 and all("error" not in item for item in items)
    assert all(Path(file).is_file() for item in items for file in item["image"])


def test_what_is_no_image_is_refused_beside_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "gone.nii.gz").symlink_to(tmp_path / "nowhere")
    items = find_studies(str(tmp_path))
    assert [item.get("error", "").removeprefix(str(tmp_path)) for item in items] == [
        "", "/gone.nii.gz: expected an image, found a link to nothing",
        "/notes.txt: expected a jpg, png, NIfTI or DICOM image",
    ]  # fmt: skip


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "a.png")
    picture(tmp_path / "data" / "b.png")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "data")
    assert [item["name"] for item in find_studies(str(tmp_path / "data"))] == ["b", "linked/a"]


def test_results_among_the_images_are_no_images(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "out" / "a_seg.png")
    assert [item["name"] for item in find_studies(str(tmp_path), output_dir=str(tmp_path / "out"))] == ["a"]
    with pytest.raises(ValueError, match="expected results in a folder of their own"):
        find_studies(str(tmp_path), output_dir=str(tmp_path))


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no image"):
        find_studies(str(tmp_path))
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        find_studies(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="expected the rules"):
        find_studies(str(tmp_path), {"seri": "largest"})
