"""Sites, and federations of them, that are refused, each with what its error names."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmed_transforms.loading.find import IMAGES
from fedmed_workflows.sites.classification_sites import ClassificationSite, ClassificationSites
from tests.workflows.sites.written_sites import write_folder


def datalist(text: str) -> Callable[[Path], Any]:
    return lambda site: (write_folder(site, dots=3), (site / "datalist.json").write_text(text))


@pytest.mark.parametrize(
    "prepare, options, named",
    [
        pytest.param(lambda site: None, {}, "expected a folder with one folder a class, or a datalist", id="missing"),
        pytest.param(lambda site: write_folder(site, dots=0), {}, "found no image, expected class folders", id="empty"),
        pytest.param(lambda site: write_folder(site, dots=20, stripes=20), {"batch_size": 33},
                     "found 32 training images after the split, expected at least one batch of 33", id="batch"),
        pytest.param(lambda site: write_folder(site, dots=2, stripes=2), {},
                     "found no validation image after the split, expected three of one class", id="too few to split"),
        pytest.param(lambda site: write_folder(site, dots=9, strips=9), {"class_names": ["dots", "stripes"]},
                     r"found the classes \['strips'\], expected some of \['dots', 'stripes'\]", id="class"),
        pytest.param(lambda site: (write_folder(site, dots=9) / "dots" / "notes.txt").touch(), {},
                     f"/dots/notes.txt: expected {IMAGES} image", id="stray file"),
        pytest.param(lambda site: write_folder(site / "dots", more=9), {},
                     f"/dots/more: expected {IMAGES} image, or a folder with one", id="stray folder"),
        pytest.param(datalist("{]"), {}, "/datalist.json: expected a datalist .* found JSONDecodeError", id="no JSON"),
        pytest.param(datalist('{"training": [{"label": "dots"}]}'), {}, "/datalist.json: .* 'image'", id="no path"),
        pytest.param(datalist('{"training": [{"image": "dots/00.png"}]}'), {}, "json: .*'label'", id="no label"),
        pytest.param(datalist('{"training": ["dots/00.png"]}'), {}, "/datalist.json: expected a datalist", id="texts"),
        pytest.param(datalist('{"class_names": ["a"], "training": [{"image": "dots/00.png", "label": 1}]}'), {},
                     "/datalist.json: expected a datalist .* found IndexError", id="label too large"),
        pytest.param(datalist('{"class_names": ["a", "b"], "training": [{"image": "dots", "label": -1}]}'), {},
                     "/datalist.json: .* label -1, expected 0 to 1", id="negative label"),
        pytest.param(datalist('{"training": [{"image": "dots/77.png", "label": "dots"}]}'), {},
                     "/datalist.json: .*/dots/77.png, which does not exist", id="missing image"),
        pytest.param(datalist('{"training": []}'), {}, "found no image", id="no section"),
        pytest.param(datalist('{"testing": []}'), {}, r"the sections \['testing'\], expected", id="unknown section"),
        pytest.param(datalist('{"test": [{"image": "dots/00.png", "label": "dots"}]}'), {},
                     "found 0 training images after the split", id="test section alone"),
    ],
)  # fmt: skip
def test_a_site_is_refused(tmp_path: Path, prepare: Callable[[Path], Any], options: dict[str, Any], named: str) -> None:
    prepare(tmp_path / "site")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "site")) + f".*{named}"):
        ClassificationSite(str(tmp_path / "site"), **options)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"unseen_site": "c"}, r"unseen site 'c': not found in .*, which holds \['a', 'b'\]"),
        ({"sites": ["a", "c"]}, r"site 'c': not found in .*, which holds \['a', 'b'\]"),
        ({"sites": ["a"], "unseen_site": "a"}, r"training sites \[\], unseen site 'a'"),
        ({"sites": ["a"], "unseen_site": "all"}, r"training sites \['a'\], unseen site 'all'"),
        ({"class_names": ["dots", "x"]}, r"site 'a': .*/a has the classes \['stripes'\].*expected some .*'dots', 'x'"),
        ({"dataset_dir": "nowhere"}, "dataset_dir nowhere: expected a folder that holds one folder a site"),
    ],
)
def test_a_federation_is_refused(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    for site in ("a", "b"):
        write_folder(tmp_path / site, dots=3, stripes=3)
    with pytest.raises(ValueError, match=named):
        ClassificationSites(**{"dataset_dir": str(tmp_path), **options})


@pytest.mark.parametrize("unseen", [None, "only"])
def test_a_federation_without_a_training_site_is_refused(tmp_path: Path, unseen: str | None) -> None:
    if unseen:
        write_folder(tmp_path / unseen, dots=3, stripes=3)
    with pytest.raises(ValueError, match=rf"training sites \[\], unseen site {unseen!r}: expected at least one"):
        ClassificationSites(str(tmp_path), unseen_site=unseen)


@pytest.mark.parametrize("odd", ["b", "unseen"])
def test_a_class_of_one_site_only_is_refused(tmp_path: Path, odd: str) -> None:
    for site in ("a", "b", "unseen"):
        write_folder(tmp_path / site, dots=3, **{"strips" if site == odd else "stripes": 3})
    named = rf"site '{odd}': .*/{odd} has the classes \['strips'\], unknown to the other sites; expected .*'stripes'"
    with pytest.raises(ValueError, match=named):
        ClassificationSites(str(tmp_path), unseen_site="unseen")
    given = ClassificationSites(str(tmp_path), unseen_site="unseen", class_names=["dots", "stripes", "strips"])
    assert given.class_names == ["dots", "stripes", "strips"]


def test_an_image_outside_the_class_folders_is_refused(sites_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(sites_dir / "site_a", tmp_path / "site")
    shutil.copy(tmp_path / "site" / "dots" / "0.png", tmp_path / "site" / "astray.png")
    with pytest.raises(ValueError, match=r"astray\.png: found an image outside the class folders"):
        ClassificationSite(str(tmp_path / "site"))


def test_an_image_in_two_sections_is_refused(sites_dir: Path, tmp_path: Path) -> None:
    item = {"image": str(sites_dir / "site_a" / "dots" / "0.png"), "label": "dots"}
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [item], "test": [item]}))
    with pytest.raises(ValueError, match=r"datalist\.json: .*0\.png more than once"):
        ClassificationSite(str(tmp_path))
