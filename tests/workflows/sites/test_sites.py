"""Sites from folders and datalists: classes and splits by patient."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from fedmed_workflows.sites.classification_sites import ClassificationSite, ClassificationSites
from tests.workflows.sites.written_sites import PARTS, write_datalist, write_dicom, write_folder


def parts(site: ClassificationSite, root: Path | None = None) -> dict[str, set[tuple[str, int]]]:
    """Images and labels of each part, the paths relative to a folder."""
    root = (root or site.path).resolve()
    return {
        part: {(str(Path(item["image"]).resolve().relative_to(root)), item["label"]) for item in getattr(site, part)}
        for part in PARTS
    }


def test_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "site", stripes=20, dots=30)
    for ignored in (".DS_Store", "Thumbs.db"):
        (tmp_path / "site" / "dots" / ignored).touch()
    site = ClassificationSite(str(tmp_path / "site"), batch_size=40)
    assert site.class_names == ["dots", "stripes"]
    found = parts(site)
    assert {part: len(items) for part, items in found.items()} == {"training": 40, "validation": 5, "test": 5}
    assert [sum(label for _, label in found[part]) for part in PARTS] == [16, 2, 2]  # every class is split alike
    everything = {(f"dots/{index:02}.png", 0) for index in range(30)} | {(f"stripes/{i:02}.png", 1) for i in range(20)}
    assert set.union(*found.values()) == everything
    turned = ClassificationSite(str(tmp_path / "site"), class_names=["stripes", "absent", "dots"])
    assert turned.class_names == ["stripes", "absent", "dots"]
    assert {(Path(item["image"]).parent.name, item["label"]) for item in turned.test} == {("stripes", 0), ("dots", 2)}


def test_an_unseen_site_is_for_testing_alone(tmp_path: Path) -> None:
    write_folder(tmp_path / "site", stripes=2, dots=1)
    site = ClassificationSite(str(tmp_path / "site"), batch_size=32, held_out=True)
    assert site.training == [] and len(site.test) == 3
    assert site.validation == site.test


def test_the_split_depends_on_seed_and_names_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "site", stripes=20, dots=20)
    for patient in range(10):  # among files without a patient
        write_dicom(folder / "stripes" / f"{patient}.dcm", f"P{patient}")
    expected = parts(ClassificationSite(str(folder)))
    assert parts(ClassificationSite(str(folder), seed=1)) != expected
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "renamed"))
    assert parts(ClassificationSite(str(moved))) == expected
    for directory, written in ((tmp_path, "site"), (folder, "."), (folder, "../site"), (tmp_path, "./site/")):
        monkeypatch.chdir(directory)
        assert parts(ClassificationSite(written)) == expected, written


def test_the_split_depends_on_no_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "site", stripes=20, dots=20)
    for patient in range(10):  # with images of both classes
        for name in ("dots", "stripes"):
            write_dicom(folder / name / f"{patient}.dcm", f"P{patient}")
    expected = parts(ClassificationSite(str(folder)))
    items = [{"image": str(path.relative_to(folder)), "label": path.parent.name} for path in folder.glob("*/*")]
    for seed in range(3):
        random.Random(seed).shuffle(items)
        (folder / "datalist.json").write_text(json.dumps({"training": items}))
        assert parts(ClassificationSite(str(folder))) == expected


def test_a_patient_stays_together(tmp_path: Path) -> None:
    root = tmp_path / "site"
    for patient in range(24):
        for image in range(3):  # patients below 4 have images of both classes
            name = "ill" if patient % 2 or (patient < 4 and image == 2) else "well"
            write_dicom(root / name / f"{image}_{patient:02}.dcm", f"P{patient}")
    for image in range(2):
        write_dicom(root / "ill" / "a_series" / str(image), "P1", series="1.2.3")
    site = ClassificationSite(str(root))
    names = {part: [Path(item["image"]).name for item in getattr(site, part)] for part in PARTS}
    patients = [{"01" if name == "a_series" else name[2:4] for name in names[part]} for part in PARTS]
    assert set.union(*patients) == {f"{patient:02}" for patient in range(24)}
    assert sum(map(len, patients)) == 24 and min(map(len, patients)) >= 2
    assert sum(map(len, names.values())) == 24 * 3 + 1  # a series is one image


@pytest.mark.parametrize("inside", [True, False], ids=["inside the folder", "beside the folders"])
def test_a_datalist_with_its_own_split(tmp_path: Path, inside: bool) -> None:
    folder = write_folder(tmp_path / "pictures" if not inside else tmp_path / "site", dots=9, stripes=9)
    path = folder / "datalist.json" if inside else tmp_path / "site.json"
    sections = {"training": {"dots": range(7), "stripes": range(6)}, "validation": {"dots": [7]},
                "test": {"dots": [8], "stripes": [6, 7]}}  # fmt: skip
    write_datalist(path, folder, **sections)
    site = ClassificationSite(str(folder if inside else path))
    expected = {
        part: {(f"{name}/{index:02}.png", label) for label, name in enumerate(("dots", "stripes"))
               for index in sections[part].get(name, ())}
        for part in PARTS
    }  # fmt: skip
    assert parts(site, folder) == expected


@pytest.mark.parametrize("given", ["validation", "test", None])
def test_what_a_datalist_leaves_out_is_split_off(tmp_path: Path, given: str | None) -> None:
    folder = write_folder(tmp_path / "site", dots=20, stripes=20)
    own = {given: {"dots": range(18, 20), "stripes": [19]}} if given else {}
    write_datalist(folder / "datalist.json", folder, training={"dots": range(18), "stripes": range(18)}, **own)
    found = parts(ClassificationSite(str(folder)))
    sizes = {"training": 28 if given is None else 32, "validation": 4, "test": 4, **({given: 3} if given else {})}
    assert {part: len(items) for part, items in found.items()} == sizes
    assert len(set.union(*found.values())) == sum(sizes.values())


def test_integer_labels_of_a_datalist(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "site", x=6)
    items = [{"image": f"x/{index:02}.png", "label": index % 2} for index in range(6)]
    (folder / "datalist.json").write_text(json.dumps({"class_names": ["zebra", "ape"], "training": items}))
    site = ClassificationSite(str(folder), held_out=True)
    assert site.class_names == ["ape", "zebra"]
    assert [item["label"] for item in site.test] == [1, 0, 1, 0, 1, 0]
    (folder / "datalist.json").write_text(json.dumps({"training": items}))
    assert ClassificationSite(str(folder), held_out=True).class_names == ["0", "1"]


def test_a_federation_of_folders_and_datalists(tmp_path: Path) -> None:
    for site in ("west", "north"):
        write_folder(tmp_path / site, dots=5, stripes=5)
    write_datalist(tmp_path / "east.json", tmp_path / "west", training={"dots": range(5)})
    (tmp_path / ".cache").mkdir()
    sites = ClassificationSites(str(tmp_path), unseen_site="north")
    assert sites.folders == {"east": tmp_path / "east.json", "west": tmp_path / "west"}
    assert list(sites.folders) == ["east", "west"]
    assert sites.unseen == ("north", tmp_path / "north") and sites.class_names == ["dots", "stripes"]
    named = ClassificationSites(str(tmp_path), sites=["west", "north"], class_names=["stripes", "none", "dots"])
    assert list(named.folders) == ["north", "west"] and named.unseen is None
    assert named.class_names == ["stripes", "none", "dots"]


def test_the_digest_is_of_the_data(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for site in ("a", "b"):
        write_folder(root / site, dots=3, stripes=3)
    digest = ClassificationSites(str(root)).digest
    assert ClassificationSites(str(shutil.copytree(root, tmp_path / "moved"))).digest == digest
    seen = {digest, ClassificationSites(str(root), sites=["a"]).digest}
    (root / "a" / "dots" / "00.png").write_bytes(b"longer")
    seen.add(ClassificationSites(str(root)).digest)
    (root / "a" / "dots" / "01.png").rename(root / "a" / "stripes" / "11.png")
    seen.add(ClassificationSites(str(root)).digest)
    assert len(seen) == 4


@pytest.mark.parametrize("given", [(), ("validation",), ("test",), ("validation", "test")])
def test_a_datalist_s_own_order_is_kept(sites_dir: Path, tmp_path: Path, given: tuple[str, ...]) -> None:
    images = [
        {"image": str(sites_dir / site / name / f"{index}.png"), "label": name}
        for site in ("site_a", "site_b")
        for index in range(12)
        for name in ("dots", "stripes")
    ]
    sections = {"training": images[:40], **{section: images[40 + 2 * k :][:2] for k, section in enumerate(given)}}
    (tmp_path / "datalist.json").write_text(json.dumps(sections))
    site = ClassificationSite(str(tmp_path))
    order = [item["image"] for item in images]
    for items in (site.training, site.validation, site.test):
        places = [order.index(item["image"]) for item in items]
        assert places and places == sorted(places)
    assert len(site.training) + len(site.validation) + len(site.test) == 40 + 2 * len(given)
    if len(given) == 2:
        assert [item["image"] for item in site.training] == order[:40]
