"""Real images divided into sites: CT slices by scanner, MRI pictures by class; FEDMED_DATA names the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedmed_workflows.sites.classification_sites import ClassificationSites
from fedmed_workflows.sites.partition.by_metadata import ByElement
from fedmed_workflows.sites.partition.label_skew import LabelSkew
from fedmed_workflows.sites.partition.pool import read_pool
from fedmed_workflows.sites.partition.site_files import write_partition

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images"),
]


def pooled(images: list[Path], folder: Path) -> Path:
    """Links to images of several folders side by side in one class folder."""
    folder.mkdir(parents=True)
    for image in images:
        (folder / f"{image.parent.name}_{image.name}").symlink_to(image.resolve())
    return folder.parent


def test_ct_slices_by_manufacturer(tmp_path: Path) -> None:
    source = pooled(sorted((Path(os.environ["FEDMED_DATA"]) / "ct").glob("*/*.dcm")), tmp_path / "ct" / "head")
    record = write_partition(read_pool(source), ByElement("Manufacturer"), 0, tmp_path / "sites")
    found = {site: (told["patients"], told["images"]) for site, told in record["sites"].items()}
    assert found == {"GE_MEDICAL_SYSTEMS": (1, 28), "Philips": (1, 28)}
    assert record["values"]["GE_MEDICAL_SYSTEMS"] == ["GE MEDICAL SYSTEMS"]
    folders = ClassificationSites(str(tmp_path / "sites"))
    assert all("head_tilted_uneven_" in image for image in folders.images["GE_MEDICAL_SYSTEMS"])


def test_mri_pictures_by_label_skew(tmp_path: Path) -> None:
    source = Path(os.environ["FEDMED_DATA"]) / "brain_tumor_mri" / "site_1"
    pool = read_pool(source)
    even, skewed = (
        write_partition(pool, LabelSkew(4, alpha), 0, tmp_path / str(alpha))["sites"].values() for alpha in (100, 0.1)
    )
    for sites in (even, skewed):
        sizes = [told["images"] for told in sites]
        assert sum(sizes) == len(pool.samples) and max(sizes) - min(sizes) <= 1
    largest = [sum(max(told["classes"].values()) for told in sites) / len(pool.samples) for sites in (even, skewed)]
    assert largest[0] < 0.5 < largest[1]  # the share of the largest class at a site, on average
