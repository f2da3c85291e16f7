"""Sites by what is known of the images: DICOM elements and tables, and what is refused of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from fedmed_workflows.sites.classification_sites import ClassificationSites
from fedmed_workflows.sites.partition.by_metadata import ByColumn, ByElement
from fedmed_workflows.sites.partition.pool import read_pool
from fedmed_workflows.sites.partition.site_files import write_partition

PATTERN = "^(p[0-9]+)_"

ItemsOf = Callable[[Path], dict[str, list[dict[str, str]]]]


def test_a_site_of_every_manufacturer(scans: Path, tmp_path: Path, items_of: ItemsOf) -> None:
    record = write_partition(read_pool(scans), ByElement("Manufacturer"), 0, tmp_path / "out")
    sites = items_of(tmp_path / "out")
    assert sorted(sites) == ["Meridian", "Northlight"]
    for site, items in sites.items():
        assert {str(pydicom.dcmread(item["image"]).Manufacturer) for item in items} == {site}
    assert record["values"] == {"Meridian": ["Meridian"], "Northlight": ["Northlight"]}
    assert record["settings"] == {"keyword": "Manufacturer"} and record["images_with_their_patients"] == 0


def test_values_of_one_spelling_are_one_site_and_patients_stay_whole(
    scans: Path, tmp_path: Path, items_of: ItemsOf
) -> None:
    pool = tmp_path / "pool"
    shutil.copytree(scans, pool)
    first, second = sorted((pool / "ring").glob("harbour-*.dcm"))[:2]  # of one patient, whose other slices stay
    for path, value in ((first, "northlight"), (second, "Meridian ")):
        dicom = pydicom.dcmread(path)
        dicom.Manufacturer = value
        dicom.save_as(path)
    record = write_partition(read_pool(pool), ByElement("Manufacturer"), 0, tmp_path / "out")
    assert record["values"] == {"Meridian": ["Meridian"], "Northlight": ["Northlight", "northlight"]}
    assert record["images_with_their_patients"] == 1  # of two values with one image each the first one's is the home
    homes = {Path(item["image"]).name: site for site, items in items_of(tmp_path / "out").items() for item in items}
    assert homes[first.name] == homes[second.name] == "Meridian"


def test_a_column_of_a_table(pictures: Path, tmp_path: Path) -> None:
    rows = [
        f"{path.relative_to(pictures)},{'1.5 T' if path.name < 'p04' else '3/T'},x" for path in pictures.glob("*/*.png")
    ]
    assert {path.parent.name for path in pictures.glob("*/p0[0-3]*")} == {"cat"}  # the datalists know both classes
    (tmp_path / "table.csv").write_text("\n".join(["image,field strength,other", *rows]), "utf-8-sig")
    scheme = ByColumn(str(tmp_path / "table.csv"), "field strength")
    record = write_partition(read_pool(pictures, PATTERN), scheme, 0, tmp_path / "out")
    assert {site: told["patients"] for site, told in record["sites"].items()} == {"1.5_T": 4, "3_T": 12}
    folders = ClassificationSites(str(tmp_path / "out"))
    assert folders.images.keys() == {"1.5_T", "3_T"} and folders.class_names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "column", "found"),
    [
        ("image,scanner\ncat/p00_0.png,a\n", "scanner", "found no scanner of cat/p00_1.png"),
        ("file,scanner\n", "scanner", "found the columns ['file', 'scanner'], expected 'image' and 'scanner'"),
        ("image,scanner\nx.png,a\nx.png,b\n", "scanner", "found two values of x.png, 'a' and 'b', expected one"),
        ("", "scanner", "found the columns []"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    pictures: Path, tmp_path: Path, text: str, column: str, found: str
) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"table.csv: {found}")):
        write_partition(read_pool(pictures), ByColumn(str(tmp_path / "table.csv"), column), 0, tmp_path / "out")


def test_scans_that_do_not_say_it_are_refused(scans: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.dcm: found no StationName, expected one of every image"):
        write_partition(read_pool(scans), ByElement("StationName"), 0, tmp_path / "out")
    with pytest.raises(ValueError, match="Modality: found one value of all patients, expected two or more"):
        write_partition(read_pool(scans), ByElement("Modality"), 0, tmp_path / "out")
    with pytest.raises(ValueError, match="keyword: found 'Maker', expected a DICOM keyword"):
        ByElement("Maker")
