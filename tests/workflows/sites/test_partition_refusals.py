"""Partitions that are refused, each with what its error names and nothing left behind."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmed_transforms.loading.find import IMAGES
from fedmed_workflows.sites.partition.by_metadata import ByColumn, ByElement
from fedmed_workflows.sites.partition.by_patient import ByPatient
from fedmed_workflows.sites.partition.division import Scheme
from fedmed_workflows.sites.partition.label_skew import LabelSkew
from fedmed_workflows.sites.partition.pool import read_pool
from fedmed_workflows.sites.partition.quantity_skew import QuantitySkew
from fedmed_workflows.sites.partition.site_files import write_partition

PATTERN = "^(p[0-9]+)_"


def damaged(pool: Path) -> None:
    (pool / "cat" / "p99_1.dcm").write_bytes(b"\x08\x00\x05\x00CS\xff\xff")


@pytest.mark.parametrize(
    ("scheme", "found"),
    [
        (ByPatient(1), "sites: found 1, expected a whole number of at least 2"),
        (ByPatient(-1), "sites: found -1, expected a whole number of at least 2"),
        (ByPatient(17), "found 16 patients with 48 images, expected one for each of 17 sites"),
        (ByPatient(8), "found no sites with at least 1 images and 3 patients of one class"),
        (QuantitySkew(2, 1.0, 25), "found no sites with at least 25 images"),
        (QuantitySkew(2, 1.0, -5), "min_images: found -5, expected a whole number of at least 1"),
        (ByElement("Manufacturer"), "p00_0.png: found no DICOM file, expected one with Manufacturer"),
        (ByColumn("nowhere.csv", "scanner"), "nowhere.csv: expected a table (CSV), found FileNotFoundError"),
    ],
)
def test_sites_that_the_images_do_not_make_are_refused(
    pictures: Path, tmp_path: Path, scheme: Scheme, found: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(found)):
        write_partition(read_pool(pictures, PATTERN), scheme, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_concentrations_are_above_zero(alpha: float) -> None:
    for kind in (LabelSkew, QuantitySkew):
        with pytest.raises(ValueError, match="alpha: found .*, expected a (finite )?number above 0"):
            kind(2, alpha)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda pool: shutil.rmtree(pool), "found nothing, expected a folder of images, or a datalist"),
        (lambda pool: (pool / "cat" / "notes.txt").touch(), f"notes.txt: expected {IMAGES} image"),
        (lambda pool: [path.unlink() for path in pool.glob("*/*")], "found no image, expected class folders"),
        (damaged, "p99_1.dcm: expected a DICOM file, found"),
    ],
)
def test_sources_that_cannot_be_read_are_refused(
    pictures: Path, spoil: Callable[[Path], Any], found: str
) -> None:
    spoil(pictures)
    with pytest.raises(ValueError, match=re.escape(found)):
        read_pool(pictures)


def test_a_pattern_that_is_none_is_refused(pictures: Path) -> None:
    with pytest.raises(ValueError, match=re.escape("patient_pattern '^(q': expected a regular expression, found")):
        read_pool(pictures, "^(q")


def test_places_that_hold_something_else_are_refused(pictures: Path, tmp_path: Path) -> None:
    pool = read_pool(pictures, PATTERN)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ValueError, match="mine: found something else, expected a new or an empty folder"):
        write_partition(pool, ByPatient(2), 0, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="expected a folder outside of the images in"):
        write_partition(pool, ByPatient(2), 0, pictures / "sites")
    with pytest.raises(ValueError, match="seed: found -1"):
        write_partition(pool, ByPatient(2), -1, tmp_path / "out")
    (tmp_path / "segmented" / "images").mkdir(parents=True)
    (tmp_path / "segmented" / "labels").mkdir()
    for index in range(8):
        for part in ("images", "labels"):
            (tmp_path / "segmented" / part / f"{index}.png").touch()
    with pytest.raises(ValueError, match="label_skew: found a segmentation, expected images of two classes or more"):
        write_partition(read_pool(tmp_path / "segmented"), LabelSkew(2, 1.0), 0, tmp_path / "out")
