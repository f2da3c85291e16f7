"""Splits: a patient's images stay together, whatever the order in which a folder lists them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fedmed_transforms.split import patient_of, split_by_patient


def cohort(patients: int = 60, classes: int = 3) -> tuple[list[str], list[int]]:
    """One to three images a patient, one class each."""
    names = [f"patient {number}" for number in range(patients) for _ in range(1 + number % 3)]
    return names, [int(name.split()[1]) % classes for name in names]


def parts_of(patients: list[str], labels: list[int], seed: int) -> dict[str, set[int]]:
    """The parts in which each patient is found."""
    found: dict[str, set[int]] = {}
    for part, indices in enumerate(split_by_patient(patients, labels, seed)):
        for index in indices:
            found.setdefault(patients[index], set()).add(part)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_patients_stay_together_and_none_is_lost(seed: int) -> None:
    patients, labels = cohort()
    parts = split_by_patient(patients, labels, seed)
    assert sorted(index for part in parts for index in part) == list(range(len(patients)))
    assert all(len(found) == 1 for found in parts_of(patients, labels, seed).values())


@pytest.mark.parametrize("seed", range(5))
def test_order_does_not_matter(seed: int) -> None:
    patients, labels = cohort()
    order = list(range(len(patients)))
    random.Random(seed).shuffle(order)
    shuffled = [patients[index] for index in order], [labels[index] for index in order]
    assert parts_of(*shuffled, seed) == parts_of(patients, labels, seed)


def test_order_does_not_matter_for_patients_of_several_classes() -> None:
    patients = [f"patient {number // 2}" for number in range(40)]
    labels = [number % 2 for number in range(40)]
    backwards = parts_of(patients[::-1], labels[::-1], seed=3)
    assert backwards == parts_of(patients, labels, seed=3)
    assert all(len(found) == 1 for found in backwards.values())


def test_seed_matters() -> None:
    patients, labels = cohort()
    assert split_by_patient(patients, labels, 0) == split_by_patient(patients, labels, 0)
    assert split_by_patient(patients, labels, 0) != split_by_patient(patients, labels, 1)


def test_eight_one_one_of_every_class() -> None:
    patients = [f"{number}" for number in range(200)]
    labels = [int(number >= 150) for number in range(200)]
    counts = [[sum(labels[index] == label for index in part) for label in (0, 1)]
              for part in split_by_patient(patients, labels, 0)]  # fmt: skip
    assert counts == [[120, 40], [15, 5], [15, 5]]


def test_other_fractions() -> None:
    parts = split_by_patient([f"{number}" for number in range(100)], [0] * 100, 0, (0.5, 0.2, 0.3))
    assert [len(part) for part in parts] == [50, 20, 30]


@pytest.mark.parametrize(("patients", "expected"), [(1, [1, 0, 0]), (2, [2, 0, 0]), (3, [1, 1, 1]), (5, [3, 1, 1])])
def test_few_patients_train_first(patients: int, expected: list[int]) -> None:
    parts = split_by_patient([f"{number}" for number in range(patients)], [0] * patients, 0)
    assert [len(part) for part in parts] == expected


def test_a_label_for_every_image() -> None:
    with pytest.raises(ValueError):
        split_by_patient(["a", "b"], [0], 0)


def test_patient_of_a_dicom_file_and_series(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    one = save_dicom(tmp_path / "1.dcm", letter, PatientID="P7 ")
    series = tmp_path / "series"
    series.mkdir()
    save_dicom(series / "IM1", letter, PatientID="P7")
    (series / ".DS_Store").write_text("left behind")
    assert patient_of(one) == patient_of(str(series)) == "patient P7"
    assert patient_of(save_dicom(tmp_path / "2.dcm", letter, PatientID="P8")) != patient_of(one)


def test_image_without_a_patient_stands_for_itself(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]
) -> None:
    Image.fromarray(letter).save(tmp_path / "f.png")
    blank = save_dicom(tmp_path / "blank.dcm", letter, PatientID="")
    assert patient_of(tmp_path / "f.png") == str(tmp_path / "f.png")
    assert patient_of(blank) == str(blank)
