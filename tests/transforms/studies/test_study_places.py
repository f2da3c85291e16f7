"""Where a clinic's images lie: files, folders, lists, links, DICOMDIR; and what their results are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from fedmed_transforms.studies.studies import find_studies

SaveSeries = Callable[..., Path]


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
    (item,) = find_studies(str(first))
    assert item == {
        "image": str(first), "path": str(first), "study": "", "series": "", "passed_over": "", "name": "x",
    }  # fmt: skip
    assert [item["name"] for item in find_studies([str(first), str(second)])] == ["a/x", "b/x"]
    series = save_series(tmp_path / "series")
    (item,) = find_studies(str(series / "b.dcm"))
    assert (item["image"], item["name"]) == ([str(series / "b.dcm")], "b")
    monkeypatch.chdir(tmp_path)
    assert [item["name"] for item in find_studies(["a", str(tmp_path / "b")])] == ["a/x", "b/x"]
    assert [item["name"] for item in find_studies("series")] == ["series"]


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
        "", "/gone.nii.gz: expected an image, found a broken link",
        "/notes.txt: expected a jpg, png, TIFF, NIfTI, NRRD, MetaImage or DICOM image",
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
