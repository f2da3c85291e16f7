"""Multi-frame files of several stacks: each stack is a volume of its own place and orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from fedmed_transforms import load_image
from tests.transforms.cases.written_series import elements, expected, write_enhanced


def group(stack: str, position: list[float], cosines: list[float] | None = None, time: int = 1) -> Dataset:
    found = elements(
        FrameContentSequence=[elements(StackID=stack, TemporalPositionIndex=time)],
        PlanePositionSequence=[elements(ImagePositionPatient=position)],
    )
    if cosines is not None:
        found.PlaneOrientationSequence = [elements(ImageOrientationPatient=cosines)]
    return found


AXIAL, SAGITTAL = [1.0, 0, 0, 0, 1, 0], [0, 1.0, 0, 0, 0, -1]


def orientations(path: Path) -> Path:
    """Three axial frames, then three sagittal ones."""
    frames = [(0, position, group("1", [1.0, 2.0, 3.0 * position], AXIAL)) for position in range(3)]
    frames += [(1, position, group("2", [-3.0 * position, 0, 0], SAGITTAL)) for position in range(3)]
    return write_enhanced(path, frames)


def places(path: Path) -> Path:
    """Two parallel stacks, 100 mm apart."""
    frames = [(0, position, group("1", [1.0, 2.0, 3.0 * position])) for position in range(3)]
    frames += [(1, position, group("2", [1.0, 2.0, 100 + 3.0 * position])) for position in range(3)]
    return write_enhanced(path, frames)


@pytest.mark.parametrize("write", [orientations, places])
def test_each_stack_is_a_volume(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path / "s.dcm")
    with pytest.raises(ValueError, match="found 2 stacks of 3, 3 frames at different places, told apart by StackID"):
        load_image(path)
    first, second = load_image(path, volume="first"), load_image(path, volume=1)
    np.testing.assert_array_equal(first.as_tensor()[0], expected(0))
    assert sorted(second.as_tensor()[0, 0, 0].tolist()) == [100, 110, 120]
    assert '"' in str(second.meta["source_frames"]) and str(second.meta["source_frames"]).endswith("[4, 5, 6]}")
    with pytest.raises(ValueError, match="expected volumes at one place as channels, found 2 stacks"):
        load_image(path, volume="channels")
    with pytest.raises(ValueError, match="volume: expected a number below 2"):
        load_image(path, volume=2)


def test_time_points_of_stacks_are_volumes(tmp_path: Path) -> None:
    """The volumes of the first stack come first, then those of the second."""
    frames = [
        (2 * stack + time, position, group(str(stack), [1.0, 2.0, 100.0 * stack + 3.0 * position], time=time + 1))
        for position in range(3) for time in range(2) for stack in range(2)
    ]  # fmt: skip
    path = write_enhanced(tmp_path / "s.dcm", frames)
    for number in range(4):
        np.testing.assert_array_equal(load_image(path, volume=number).as_tensor()[0], expected(number))


def test_stacks_that_are_one_volume_together_stay_one(tmp_path: Path) -> None:
    frames = [(0, position, group(str(position // 2), [1.0, 2.0, 3.0 * position])) for position in range(4)]
    path = write_enhanced(tmp_path / "s.dcm", frames)
    for rules in ({}, {"volume": "first"}, {"volume": "channels"}):
        np.testing.assert_array_equal(load_image(path, **rules).as_tensor()[0], expected(0, 4))


def test_the_largest_orientation_is_still_a_rule(tmp_path: Path) -> None:
    path = orientations(tmp_path / "s.dcm")
    with pytest.raises(ValueError, match="expected slices of one orientation"):
        load_image(path, orientations="largest")  # both have three slices
