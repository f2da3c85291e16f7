"""Sites of a segmentation: pairs of images and labels, splits by volume, and every refusal with what it names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows.sites.segmentation_sites import SegmentationSite, SegmentationSites


def write_pairs(site: Path, *stems: str, images: str = ".nii.gz", labels: str = ".nii.gz") -> Path:
    """Empty files; only a reader would mind."""
    for folder, ending in (("images", images), ("labels", labels)):
        (site / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            (site / folder / f"{stem}{ending}").touch()
    return site


def stems(items: list[dict[str, Any]]) -> list[str]:
    assert all(Path(item["image"]).name.split(".")[0] == Path(item["label"]).name.split(".")[0] for item in items)
    return [Path(item["image"]).name.split(".")[0] for item in items]


def test_ninety_percent_train_and_ten_are_left_out(tmp_path: Path) -> None:
    site = SegmentationSite(str(write_pairs(tmp_path, *(f"{number:02}" for number in range(20)))))
    assert (len(site.training), len(site.validation)) == (18, 2) and site.test is site.validation
    assert sorted(stems(site.training) + stems(site.validation)) == [f"{number:02}" for number in range(20)]


def test_an_unseen_site_is_all_for_testing(tmp_path: Path) -> None:
    site = SegmentationSite(str(write_pairs(tmp_path, "a", "b")), held_out=True)
    assert site.training == [] and stems(site.test) == stems(site.validation) == ["a", "b"]


def test_a_patient_stays_on_one_side(tmp_path: Path) -> None:
    names = [f"p{patient}_{slice_}" for patient in range(6) for slice_ in range(4)]
    write_pairs(tmp_path, *names, images=".jpg", labels=".png")
    for seed in range(5):
        site = SegmentationSite(str(tmp_path), seed=seed, patient_pattern="^(p[0-9])_")
        sides = [{stem.split("_")[0] for stem in stems(part)} for part in (site.training, site.validation)]
        assert not sides[0] & sides[1] and len(sides[1]) == 1 and len(stems(site.validation)) == 4


def test_a_datalist_with_its_own_sections(tmp_path: Path) -> None:
    write_pairs(tmp_path / "store", *"abcde")
    items = {stem: {"image": f"images/{stem}.nii.gz", "label": f"labels/{stem}.nii.gz"} for stem in "abcde"}
    content = {"training": [items[s] for s in "abc"], "validation": [items["d"]], "test": [items["e"]]}
    (tmp_path / "store" / "datalist.json").write_text(json.dumps(content))
    site = SegmentationSite(str(tmp_path / "store"))
    assert [stems(part) for part in (site.training, site.validation, site.test)] == [["a", "b", "c"], ["d"], ["e"]]


def pairs(*names: str, **endings: str) -> Callable[[Path], Any]:
    return lambda site: write_pairs(site, *names, **endings)


def lonely(folder: str) -> Callable[[Path], Any]:
    return lambda site: (write_pairs(site, *"abc") / folder / "d.nii.gz").touch()


def doubled(site: Path) -> None:
    (write_pairs(site, *"abc") / "labels" / "a.png").touch()


@pytest.mark.parametrize(
    "prepare, named",
    [
        pytest.param(lambda site: site.mkdir(), r"found \[\], expected the folders 'images' and 'labels'", id="empty"),
        pytest.param(lambda site: (site / "images").mkdir(parents=True), r"found \['images'\]", id="no labels"),
        pytest.param(pairs(), "found no image, expected images in", id="no images"),
        pytest.param(lonely("images"), "images/d.nii.gz: found no file of the same stem", id="no label of an image"),
        pytest.param(lonely("labels"), "labels/d.nii.gz: found no file of the same stem", id="no image of a label"),
        pytest.param(doubled, "labels/a.png: found a.nii.gz of the same stem", id="two labels"),
        pytest.param(pairs("a", "b"), "found no validation image after the split", id="two volumes"),
    ],
)
def test_a_site_is_refused(tmp_path: Path, prepare: Callable[[Path], Any], named: str) -> None:
    prepare(tmp_path / "site")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "site")) + f".*{named}"):
        SegmentationSite(str(tmp_path / "site"))


def test_a_datalist_whose_label_does_not_exist_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a")
    content = {"training": [{"image": "images/a.nii.gz", "label": "labels/b.nii.gz"}]}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="datalist.json: expected a datalist .*labels/b.nii.gz, which does not exist"):
        SegmentationSite(str(tmp_path))


def test_the_sites_of_a_federation(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_pairs(tmp_path / name, "1", "2", "3")
    sites = SegmentationSites(str(tmp_path), unseen_site="b", channels={"disc": [1, 2], "cup": [2]})
    assert list(sites.folders) == ["a", "c"] and sites.unseen == ("b", tmp_path / "b")
    assert sites.class_names == ["disc", "cup"] and sites.key_metric == "dice" and sites.chance is None
    assert {Path(file).parent.name for file in sites.images["b"]} == {"images", "labels"}
    assert len(sites.images["b"]) == 6


def test_each_site_in_turn(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_pairs(tmp_path / name, "1", "2", "3")
    sites = SegmentationSites(str(tmp_path), unseen_site="all")
    assert sites.in_turn == list(sites.folders) == ["a", "b", "c"] and sites.unseen is None
    turned = sites.without("b")
    assert list(turned.folders) == ["a", "c"] and turned.unseen == ("b", tmp_path / "b") and not turned.in_turn
    assert turned.digest == sites.digest and sites.in_turn == ["a", "b", "c"]
    write_pairs(tmp_path / "all", "1")
    with pytest.raises(ValueError, match="unseen site 'all': .* holds a site of this name"):
        SegmentationSites(str(tmp_path), unseen_site="all")


def test_the_digest_is_of_images_and_labels(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pairs(tmp_path / name, "1", "2", "3")
    seen = {SegmentationSites(str(tmp_path)).digest}
    for changed in ("a/labels/2.nii.gz", "b/images/3.nii.gz"):
        (tmp_path / changed).write_text("other")
        seen.add(SegmentationSites(str(tmp_path)).digest)
    assert len(seen) == 3
