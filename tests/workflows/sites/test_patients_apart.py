"""A site's patients: never on two sides of its split, whoever says which images are whose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fedmed_workflows.sites.classification_sites import ClassificationSite

SIDES = ("training", "validation", "test")


def write_pictures(folder: Path, patients: int = 10, views: int = 3) -> list[str]:
    """Empty pictures of two classes, several views a patient; only a reader would mind."""
    names = []
    for label in ("dots", "stripes"):
        (folder / label).mkdir(parents=True)
        names += [f"{label}/{label}{number}_{view}.png" for number in range(patients) for view in range(views)]
    for name in names:
        (folder / name).touch()
    return names


def patients_of(site: ClassificationSite) -> list[set[str]]:
    return [{Path(item["image"]).name.split("_")[0] for item in getattr(site, side)} for side in SIDES]


def shared(sides: Sequence[set[str]]) -> set[str]:
    return (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])


def items_of(names: Sequence[str], **patient: str) -> list[dict[str, Any]]:
    return [{"image": name, "label": name.split("/")[0], **patient} for name in names]


@pytest.mark.parametrize("seed", range(3))
def test_pattern_keeps_the_views_of_a_patient_together(tmp_path: Path, seed: int) -> None:
    write_pictures(tmp_path)
    apart = ClassificationSite(str(tmp_path), seed=seed, patient_pattern="^([a-z]+[0-9]+)_")
    assert [len(side) for side in patients_of(apart)] == [16, 2, 2] and not shared(patients_of(apart))
    assert shared(patients_of(ClassificationSite(str(tmp_path), seed=seed)))


def test_datalist_names_its_patients(tmp_path: Path) -> None:
    items = [
        {"image": name, "label": name.split("/")[0], "patient": Path(name).name.split("_")[0]}
        for name in write_pictures(tmp_path)
    ]
    (tmp_path / "datalist.json").write_text(json.dumps({"training": items}))
    site = ClassificationSite(str(tmp_path))
    assert [len(side) for side in patients_of(site)] == [16, 2, 2] and not shared(patients_of(site))


@pytest.mark.parametrize("section", ["validation", "test"])
def test_datalist_with_a_patient_on_two_sides_is_refused(tmp_path: Path, section: str) -> None:
    names = write_pictures(tmp_path, views=1)
    content = {"training": items_of(names[1:], patient="Doe"), section: items_of(names[:1], patient="Doe")}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=rf"\.png \(.*\.png \({section}\): found one patient.* on two sides"
    ) as refused:
        ClassificationSite(str(tmp_path))
    assert "Doe" not in str(refused.value)


def test_unseen_site_is_one_side(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    site = ClassificationSite(str(tmp_path), held_out=True, patient_pattern="^([a-z]+[0-9]+)_")
    assert not site.training and len(site.validation) == len(site.test) == 60
