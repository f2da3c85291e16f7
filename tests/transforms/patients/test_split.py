"""Splits: a patient's images stay together, whatever the order in which a folder lists them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedmed_transforms.patients.split import check_apart, patient_of, split_by_patient


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


@pytest.mark.parametrize("patients", [1, 2, 3, 4, 5, 12, 100])
@pytest.mark.parametrize("fractions", [(0.9, 0.1, 0.0), (0.9, 0.0, 0.1), (1.0, 0.0, 0.0)])
def test_a_fraction_of_zero_is_an_empty_part(patients: int, fractions: tuple[float, float, float]) -> None:
    parts = split_by_patient([f"{number}" for number in range(patients)], [0] * patients, 0, fractions)
    for part, fraction in zip(parts[1:], fractions[1:], strict=True):
        least = 1 if patients >= 3 else 0
        assert len(part) == (max(least, round(patients * fraction)) if fraction else 0)
    assert sorted(index for part in parts for index in part) == list(range(patients))


def test_the_split_of_facmic_stays_what_it_was() -> None:
    """Two images a patient, two classes in turn: runs that were started before go on with it."""
    patients = [f"p{number // 2}" for number in range(24)]
    training, validation, test = split_by_patient(patients, [number // 2 % 2 for number in range(24)], 7)
    assert training == [0, 1, 2, 3, 4, 5, 8, 9, 14, 15, 16, 17, 18, 19, 22, 23]
    assert (validation, test) == ([10, 11, 12, 13], [6, 7, 20, 21])


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


def test_images_of_nobody_stay_together_by_study_then_frame_of_reference_then_series(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]
) -> None:
    elements = {"SeriesInstanceUID": "1.4", "FrameOfReferenceUID": "1.3", "StudyInstanceUID": "1.2", "PatientID": "P7"}
    expected = ["series 1.4", "frame of reference 1.3", "study 1.2", "patient P7"]
    for number in range(4):
        known = dict(list(elements.items())[: number + 1])
        slices = [
            save_dicom(tmp_path / f"{number}_{place}.dcm", letter, **{"PatientID": " ", **known}) for place in (0, 1)
        ]
        assert {patient_of(file) for file in slices} == {expected[number]}


def test_image_without_a_patient_stands_for_itself(
    tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]
) -> None:
    Image.fromarray(letter).save(tmp_path / "f.png")
    blank = save_dicom(tmp_path / "blank.dcm", letter, PatientID="", SeriesInstanceUID="")
    assert patient_of(tmp_path / "f.png") == str(tmp_path / "f.png")
    assert patient_of(blank) == str(blank)


def test_patient_in_the_name(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    """A pattern goes before the header, which anonymisation may have made the same for everybody."""
    pattern = "^(patient[0-9]+)_"
    assert (
        patient_of("a/patient12_left.nii.gz", pattern)
        == patient_of("b/patient12_2.png", pattern)
        == "patient patient12"
    )
    assert patient_of("a/patient1_2.png", pattern) != patient_of("a/patient12_2.png", pattern)
    file = save_dicom(tmp_path / "patient7_1.dcm", letter, PatientID="anonymous")
    assert patient_of(file, pattern) == "patient patient7"


@pytest.mark.parametrize("name", ["healthy_patient12_1.png", "12.png"])
def test_name_without_a_patient_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"site/{name}: found no patient in the name, expected one by the pattern"):
        patient_of(f"site/{name}", "^(patient[0-9]+)_")
    with pytest.raises(ValueError, match="found 2 groups, expected one"):
        patient_of(f"site/{name}", "(a)(b)")


def test_patient_of_a_datalist_item(tmp_path: Path, letter: Any, save_dicom: Callable[..., Path]) -> None:
    file = str(save_dicom(tmp_path / "x7_1.dcm", letter, PatientID="P7"))
    assert patient_of({"image": file, "patient": 12}, "^(x[0-9])") == "patient 12"
    assert patient_of({"image": file}) == "patient P7" and patient_of({"image": file}, "^(x[0-9])") == "patient x7"


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=60),
    st.integers(0, 10**6),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.2, 0.3), (0.34, 0.33, 0.33), (0.9, 0.1, 0.0)]),
)
def test_no_grouping_puts_a_patient_on_two_sides(
    images: list[tuple[int, int]], seed: int, fractions: tuple[float, float, float]
) -> None:
    """Whatever the patients and classes: the sides share no patient, and every image is on one of them."""
    patients = [f"patient {patient}" for patient, _ in images]
    sides = split_by_patient(patients, [label for _, label in images], seed, fractions)
    assert sorted(index for side in sides for index in side) == list(range(len(images)))
    found = [{patients[index] for index in side} for side in sides]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    check_apart({str(number): {str(index): patients[index] for index in side} for number, side in enumerate(sides)})


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["training", "validation", "test"])), max_size=12))
def test_check_refuses_a_patient_on_two_sides_and_nothing_else(images: list[tuple[int, str]]) -> None:
    sides: dict[str, dict[str, str]] = {}
    for number, (patient, side) in enumerate(images):
        sides.setdefault(side, {})[f"{number}.png"] = f"patient Name{patient}"
    if len(set(images)) == len({patient for patient, _ in images}):
        check_apart(sides)
    else:
        with pytest.raises(ValueError, match=r"^\d+\.png \(\w+\) and \d+\.png \(\w+\): found one patient") as refused:
            check_apart(sides)
        assert "Name" not in str(refused.value)
