"""Whoever follows the advice of a message gets the right volume: a case for each rule that a message names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydicom.uid import UltrasoundImageStorage

from fedmed_transforms.dicom.geometry.assumed_spacing import advise_spacing
from fedmed_transforms.dicom.series import read_series
from fedmed_transforms.dicom.slices import read_slices
from tests.transforms.cases.advice_cases import CASES, cone_beam, write
from tests.transforms.cases.advice_texts import FOLLOWED, advice, rules_in


def test_every_advice_of_the_code_has_a_case() -> None:
    without = {
        (text, rule) for text, rule in advice()
        if not any(case.said in text and rule in case.rules for case in CASES.values())
        and not any(part in text for part in FOLLOWED)
    }  # fmt: skip
    assert not without, "a message advises these rules; add a case that follows the advice"


def test_no_case_is_of_an_advice_that_is_gone() -> None:
    texts = [text for text, _ in advice()]
    assert [name for name, case in CASES.items() if not any(case.said in text for text in texts)] == []
    assert [part for part in FOLLOWED if not any(part in text for text in texts)] == []


@pytest.mark.parametrize("place", FOLLOWED.values())
def test_the_tests_that_follow_other_advice_are_there(place: str) -> None:
    file, name = place.split("::")
    assert f"def {name}(" in (Path(__file__).parent / file).read_text()


@pytest.mark.parametrize("name", CASES)
def test_following_an_advice_gives_the_right_volume(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = case.make(tmp_path / "images")
    with pytest.raises(ValueError) as error:
        case.load(path, **case.also)
    said = case.said.split("{}")
    assert all(part in str(error.value) for part in said)
    assert set(case.rules) <= rules_in(str(error.value))
    case.check(case.load(path, **case.rules))


def cine(folder: Path) -> Path:
    """Ultrasound pictures that follow each other in time, in one file."""
    return cone_beam(folder, Modality="US", SOPClassUID=UltrasoundImageStorage, ImagePositionPatient=None)


IN_TIME = {
    "ultrasound": cine,
    "captured": lambda folder: cone_beam(folder, Modality="OT", ImagePositionPatient=None),
    "by a frame time": lambda folder: cone_beam(folder, FrameTime=40, FrameIncrementPointer=0x00181063),
    "pictures in files": lambda folder: write(folder, Modality="US", ImagePositionPatient=None),
}


def said_of(path: Path) -> str:
    """The advice for images that lack a position, whatever rule or reader takes them."""
    return advise_spacing([item for file in read_series(path) for item in read_slices(file)])


@pytest.mark.parametrize("name", IN_TIME)
def test_nothing_advises_to_stack_what_may_follow_in_time(tmp_path: Path, name: str) -> None:
    said = said_of(IN_TIME[name](tmp_path / "images"))
    assert said == "; nothing states that they are slices of one volume" and not rules_in(said)


@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder")
def test_nothing_advises_to_stack_a_cine() -> None:
    assert not rules_in(said_of(Path(os.environ["FEDMED_DATA"]) / "cases" / "us_cine"))
