"""Folders divided into sites: whose images lie where, and what is written."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from fedmed_transforms.simulation.volume_phantoms import write_segmentation_sites
from fedmed_workflows.sites.classification_sites import ClassificationSite, ClassificationSites
from fedmed_workflows.sites.partition.by_metadata import ByElement
from fedmed_workflows.sites.partition.by_patient import ByPatient
from fedmed_workflows.sites.partition.command import main
from fedmed_workflows.sites.partition.division import Scheme
from fedmed_workflows.sites.partition.label_skew import LabelSkew
from fedmed_workflows.sites.partition.picture import partition_figure
from fedmed_workflows.sites.partition.pool import read_pool
from fedmed_workflows.sites.partition.quantity_skew import QuantitySkew
from fedmed_workflows.sites.partition.site_files import write_partition
from fedmed_workflows.sites.segmentation_sites import SegmentationSite, SegmentationSites

PATTERN = "^(p[0-9]+)_"

ItemsOf = Callable[[Path], dict[str, list[dict[str, str]]]]


SCHEMES = [LabelSkew(3, 0.5), QuantitySkew(3, 1.0), ByPatient(3), ByElement("ManufacturerModelName")]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: f"{scheme.name}")
def test_every_scan_is_at_one_site_with_all_of_its_patient(
    scans: Path, tmp_path: Path, scheme: Scheme, items_of: ItemsOf
) -> None:
    record = write_partition(read_pool(scans), scheme, 1, tmp_path / "out")
    sites = items_of(tmp_path / "out")
    assert sorted(item["image"] for items in sites.values() for item in items) == sorted(
        str(path.resolve()) for path in scans.glob("*/*.dcm")
    )
    homes: dict[str, set[str]] = {}
    for site, items in sites.items():
        assert items and all("patient" not in item for item in items)  # the files say whose they are
        assert all(Path(item["image"]).parent.name == item["label"] for item in items)
        told = record["sites"][site]
        assert told["classes"] == {name: sum(item["label"] == name for item in items) for name in record["class_names"]}
        patients = {str(pydicom.dcmread(item["image"], stop_before_pixels=True).PatientID) for item in items}
        assert (told["images"], told["patients"]) == (len(items), len(patients))
        for patient in patients:
            homes.setdefault(patient, set()).add(site)
    assert {len(found) for found in homes.values()} == {1} and len(homes) == 64


def test_a_federation_takes_the_sites_up(scans: Path, tmp_path: Path) -> None:
    write_partition(read_pool(scans), LabelSkew(3, 5.0), 0, tmp_path / "out")
    folders = ClassificationSites(str(tmp_path / "out"), unseen_site="site_3")
    assert list(folders.folders) == ["site_1", "site_2"]
    assert folders.class_names == ["cross", "nodules", "ring", "stripes"]
    for path in folders.folders.values():
        site = ClassificationSite(str(path), folders.class_names)
        assert len(site.training) > len(site.test) > 0


def test_the_patients_that_a_name_tells_are_written_down(pictures: Path, tmp_path: Path, items_of: ItemsOf) -> None:
    write_partition(read_pool(pictures, PATTERN), ByPatient(2), 0, tmp_path / "out")
    sites = items_of(tmp_path / "out")
    assert {len(items) for items in sites.values()} == {24}
    for items in sites.values():
        assert Counter(Counter(item["patient"] for item in items).values()) == {3: 8}
        assert all(Path(item["image"]).name.startswith(f"{item['patient']}_") for item in items)


def test_a_segmentation(tmp_path: Path) -> None:
    source = write_segmentation_sites(tmp_path / "sites", volumes=8, size=16) / "harbour"
    record = write_partition(read_pool(source), ByPatient(2), 0, tmp_path / "out")
    assert [told["images"] for told in record["sites"].values()] == [4, 4] and record["class_names"] == []
    site = SegmentationSite(str(tmp_path / "out" / "site_1.json"))
    assert len(site.training) == 3 and len(site.validation) == 1
    for item in site.training:
        assert Path(item["image"]).is_dir() and Path(item["label"]).name == f"{Path(item['image']).name}.nii.gz"
    assert sorted(SegmentationSites(str(tmp_path / "out")).folders) == ["site_1", "site_2"]
    assert [told["patients"] for told in record["sites"].values()] == [4, 4]
    again = write_partition(read_pool(tmp_path / "out" / "site_1.json"), ByElement("PatientID"), 0, tmp_path / "each")
    assert len(again["sites"]) == 4  # a datalist is a source as well


def test_sections_stay_sections(pictures: Path, tmp_path: Path) -> None:
    images = sorted(pictures.glob("*/*.png"))
    items = [{"image": str(path.relative_to(tmp_path)), "label": path.parent.name} for path in images]
    test = {"p00", "p01", "p02", "p08", "p09"}
    parts = {
        "training": [item for item in items if Path(item["image"]).name[:3] not in test],
        "test": [item for item in items if Path(item["image"]).name[:3] in test],
    }
    for name, content in (("one", parts), ("other", {part: found[::-1] for part, found in parts.items()})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        write_partition(read_pool(tmp_path / f"{name}.json", PATTERN), QuantitySkew(2, 2.0), 3, tmp_path / name)
    written = [json.loads((tmp_path / "one" / f"site_{place}.json").read_text()) for place in (1, 2)]
    assert {item["patient"] for site in written for item in site["test"]} == test
    assert sum(len(site["training"]) for site in written) == 33 and all(site["test"] for site in written)
    for name in ("site_1.json", "site_2.json"):  # the order of the items counts for nothing
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_the_same_command_changes_nothing_and_another_is_refused(pictures: Path, tmp_path: Path) -> None:
    pool, out = read_pool(pictures, PATTERN), tmp_path / "out"
    record = write_partition(pool, LabelSkew(2, 0.3), 7, out)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.iterdir()}
    assert set(before) == {"site_1.json", "site_2.json", "partition.json", "partition.png"}
    assert json.loads((out / "partition.json").read_text()) == record
    assert record["settings"] == {"sites": 2, "alpha": 0.3, "min_images": 1}
    assert (record["by"], record["seed"], record["source"]) == ("label_skew", 7, "../pictures")
    assert write_partition(pool, LabelSkew(2, 0.3), 7, out) == record
    with pytest.raises(ValueError, match="out: found another partition, expected a new or an empty folder"):
        write_partition(pool, LabelSkew(2, 0.3), 8, out)
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.iterdir()} == before
    elsewhere = tmp_path / "moved" / "along"  # the same sites wherever the images lie
    shutil.copytree(pictures, elsewhere / "pictures")
    write_partition(read_pool(elsewhere / "pictures", PATTERN), LabelSkew(2, 0.3), 7, elsewhere / "out")
    assert {path.name: path.read_bytes() for path in (elsewhere / "out").iterdir()} == {
        name: content for name, (_, content) in before.items()
    }


def test_patients_that_nothing_tells_are_not_counted(pictures: Path, tmp_path: Path) -> None:
    record = write_partition(read_pool(pictures), ByPatient(2), 0, tmp_path / "out")
    assert [(told["patients"], told["images"]) for told in record["sites"].values()] == [(None, 24), (None, 24)]
    written = " ".join(text.get_text() for text in partition_figure(record).axes[0].texts)
    assert "24 images" in written and "patients" not in written


def test_the_picture_shows_every_sites_classes(pictures: Path, tmp_path: Path) -> None:
    record = write_partition(read_pool(pictures, PATTERN), LabelSkew(3, 0.3), 0, tmp_path / "out")
    axes = partition_figure(record).axes[0]
    for name, bars in zip(record["class_names"], axes.containers, strict=True):
        assert bars.get_label() == name
        assert [bar.get_width() for bar in bars] == [told["classes"][name] for told in record["sites"].values()]
    ends = [bar.get_x() + bar.get_width() for bar in axes.containers[-1]]
    assert ends == [told["images"] for told in record["sites"].values()]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(record["sites"])
    picture = np.asarray(Image.open(tmp_path / "out" / "partition.png").convert("RGB"))
    assert (picture == (0x00, 0x72, 0xB2)).all(axis=-1).any()  # the first class's blue


def test_the_command_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantity_skew", str(pictures), str(tmp_path / "out"), "--patient-pattern", PATTERN]
    settings = ["--sites", "2", "--alpha", "0.8", "--min-images", "12", "--seed", "4"]
    monkeypatch.setattr(sys, "argv", ["partition", *command, *settings])
    assert main() == 0
    record = json.loads((tmp_path / "out" / "partition.json").read_text())
    assert record["sites"].keys() == {"site_1", "site_2"} and record["seed"] == 4
    assert record["settings"] == {"sites": 2, "alpha": 0.8, "min_images": 12}
    assert all(told["images"] >= 12 for told in record["sites"].values())
    told = capsys.readouterr().out.splitlines()
    assert told[0].split() == ["site", "patients", "images", "classes"] and told[1].startswith("site_1")
    monkeypatch.setattr(sys, "argv", ["partition", *command, *settings[:-1], "5"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "found another partition" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["partition", "metadata", *command[1:3], "--csv", "table.csv"])
    with pytest.raises(SystemExit):
        main()
    assert "--csv and --column" in capsys.readouterr().err
