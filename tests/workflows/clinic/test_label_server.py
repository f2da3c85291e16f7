"""Tests the start of MONAI Label: the bundles it links and those it refuses. tests/label tests the server itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedmed_workflows.clinic.label_server import NEEDED, link_bundles, server_command, server_environment


def bundle(folder: Path, without: str = "") -> Path:
    for name in NEEDED:
        if name != without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    return folder


def test_bundles_are_linked_and_those_of_an_earlier_start_are_not(tmp_path: Path) -> None:
    app, first = tmp_path / "app", bundle(tmp_path / "organ_segmentation")
    second = bundle(tmp_path / "b_classification")
    assert link_bundles(app, [first]) == ["organ_segmentation"]
    assert link_bundles(app, [second]) == ["b_classification"]
    (link,) = (app / "model").iterdir()
    assert link.resolve() == second and (first / NEEDED[0]).is_file()


@pytest.mark.parametrize("missing", NEEDED)
def test_a_bundle_that_would_be_left_out_is_refused(tmp_path: Path, missing: str) -> None:
    folder = bundle(tmp_path / "organ_segmentation", without=missing)
    with pytest.raises(ValueError, match=re.escape(f"{folder}: found no {missing}")):
        link_bundles(tmp_path / "app", [folder])
    assert not (tmp_path / "app").exists()


@pytest.mark.parametrize("names", [["organ"], ["a,b_segmentation"], ["a_segmentation", "other/a_segmentation"], []])
def test_names_that_can_not_be_served_are_refused(tmp_path: Path, names: list[str]) -> None:
    folders = [bundle(tmp_path / name) for name in names]
    with pytest.raises(ValueError, match=re.escape(str(folders[0])) if folders else "found no bundle"):
        link_bundles(tmp_path / "app", folders)
    assert not (tmp_path / "app").exists()


def test_the_server_listens_on_loopback_and_asks_nobody(tmp_path: Path) -> None:
    command = server_command(tmp_path, "studies", ["a_segmentation", "b_classification"], 8123)
    pairs = list(zip(command, command[1:]))
    assert ("--host", "127.0.0.1") in pairs and ("--port", "8123") in pairs
    assert ("zoo_source", "local") in pairs and ("sam2", "false") in pairs
    assert ("models", "a_segmentation,b_classification") in pairs


def test_settings_of_the_user_come_before_ours() -> None:
    own = {"MONAI_LABEL_DATASTORE_FILE_EXT": '["*.nii"]', "MONAI_LABEL_DICOMWEB_CACHE_PATH": "elsewhere"}
    ours, user = server_environment({}, Path("app")), server_environment(own, Path("app"))
    assert ours["MONAI_LABEL_DICOMWEB_CACHE_PATH"] == str(Path("app", "fetched"))
    assert user["MONAI_LABEL_DICOMWEB_CACHE_PATH"] == "elsewhere"
    assert "*.zip" in ours["MONAI_LABEL_DATASTORE_FILE_EXT"]
    assert user["MONAI_LABEL_DATASTORE_FILE_EXT"] == '["*.nii"]'
