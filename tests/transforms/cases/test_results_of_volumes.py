"""A segmentation of one volume refers to the instances and frames of that volume, and has a frame of reference."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.uid import UltrasoundMultiFrameImageStorage

from fedmed_transforms import SaveSegmentationd, load_image, read_segmentation
from tests.transforms.cases.test_cines import write_cine
from tests.transforms.cases.written_series import elements, write_enhanced, write_series

CASES = Path(os.environ.get("FEDMED_DATA", "")) / "cases"


def segment(path: Path, folder: Path, **rules: Any) -> tuple[MetaTensor, pydicom.Dataset, Path]:
    """Writes a mask of two columns of an image; returns the mask, the segmentation and its file."""
    image = load_image(path, **rules)
    mask = MetaTensor(torch.zeros((1, *image.shape[1:])), meta=dict(image.meta))
    mask[:, 1, 2], mask[:, 3, 1] = 1, 1
    SaveSegmentationd("mask", str(folder), ["organ"])({"mask": mask})
    (file,) = folder.iterdir()
    return mask, pydicom.dcmread(file), file


def referred(result: pydicom.Dataset) -> set[tuple[str, int | None]]:
    groups = result.PerFrameFunctionalGroupsSequence
    items = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
    return {(str(item.ReferencedSOPInstanceUID), item.get("ReferencedFrameNumber")) for item in items}


@pytest.mark.parametrize(("volume", "echo"), [("first", 1), (1, 2), ("channels", 1)])
def test_the_instances_of_the_volume(tmp_path: Path, volume: str | int, echo: int) -> None:
    """Channels are of one place: the segmentation refers to the instances of the first volume."""
    folder = write_series(tmp_path / "s", [{"EchoNumbers": 1}, {"EchoNumbers": 2}])
    mask, result, file = segment(folder, tmp_path / "out", volume=volume)
    headers = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert referred(result) == {(header.SOPInstanceUID, None) for header in headers if header.EchoNumbers == echo}
    assert len(result.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 3
    assert int(read_segmentation(file)[0].sum()) == int(mask.sum())


@pytest.mark.parametrize(("volume", "frames"), [("first", {1, 3, 5}), (1, {2, 4, 6}), ("channels", {1, 3, 5})])
def test_the_frames_of_the_volume(tmp_path: Path, volume: str | int, frames: set[int]) -> None:
    places = [(echo, position) for position in range(3) for echo in range(2)]
    groups = [elements(MREchoSequence=[elements(EffectiveEchoTime=5.0 + echo)]) for echo, _ in places]
    path = write_enhanced(tmp_path / "s.dcm", [(*place, group) for place, group in zip(places, groups, strict=True)])
    mask, result, file = segment(path, tmp_path / "out", volume=volume)
    assert {frame for _, frame in referred(result)} == frames
    assert int(read_segmentation(file)[0].sum()) == int(mask.sum())


def test_results_of_two_volumes_have_two_identities(tmp_path: Path) -> None:
    groups = [elements(MREchoSequence=[elements(EffectiveEchoTime=5.0 + echo)]) for echo in (0, 0, 1, 1)]
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    path = write_enhanced(tmp_path / "s.dcm", [(*place, group) for place, group in zip(places, groups, strict=True)])
    uids = {segment(path, tmp_path / f"out{number}", volume=number)[1].SOPInstanceUID for number in (0, 1)}
    again = segment(path, tmp_path / "again", volume=1)[1].SOPInstanceUID
    assert len(uids) == 2 and again in uids


@pytest.mark.parametrize("frame_of_reference", [None, "1.2.3.5"])
@pytest.mark.parametrize(("volume", "frame"), [("first", 1), (2, 3), ("channels", 1)])
def test_the_picture_of_a_cine(tmp_path: Path, volume: str | int, frame: int, frame_of_reference: str | None) -> None:
    path = write_cine(tmp_path / "c.dcm", FrameOfReferenceUID=frame_of_reference)
    mask, result, file = segment(path, tmp_path / "out", volume=volume)
    assert {number for _, number in referred(result)} == {frame}
    assert pydicom.dcmread(path).SOPClassUID == UltrasoundMultiFrameImageStorage
    assert int(read_segmentation(file)[0].sum()) == int(mask.sum())


def test_a_missing_frame_of_reference_is_made_of_the_series(tmp_path: Path) -> None:
    """The same series gives the same one, and another series another."""
    made = []
    for number, series in enumerate(("1.2.3.4", "1.2.3.4", "1.2.3.9")):
        given = {"FrameOfReferenceUID": None, "SeriesInstanceUID": series}
        folder = write_series(tmp_path / str(number) / "s", [given])
        mask, result, file = segment(folder, tmp_path / str(number) / "out")
        made.append(result.FrameOfReferenceUID)
        assert int(read_segmentation(file)[0].sum()) == int(mask.sum())
    assert made[0] == made[1] != made[2] and all(made)


def test_a_frame_of_reference_that_some_slices_state_is_that_of_all(tmp_path: Path) -> None:
    given = {"FrameOfReferenceUID": lambda position: "1.2.3.7" if position == 1 else None}
    folder = write_series(tmp_path / "s", [given])
    assert segment(folder, tmp_path / "out")[1].FrameOfReferenceUID == "1.2.3.7"


@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images")
@pytest.mark.parametrize(
    ("name", "rules", "count"),
    [
        ("no_frame_of_reference_source/001.dcm", {}, 8),
        ("fmri_philips_classic/fmri", {"volume": 1}, 9),
        ("fmri_siemens_enhanced/XA10", {"volume": 2}, 6),
        ("philips_mixed_frames/IM_0027_fMAP.dcm", {"volume": 1}, 32),
        ("us_cine/us_cine.dcm", {"volume": 1}, 1),
        ("overlap_of_two_acquisitions/acq", {"volume": "first"}, 4),
    ],
)
def test_public_sources(tmp_path: Path, name: str, rules: dict[str, Any], count: int) -> None:
    mask, result, file = segment(CASES / name, tmp_path / "out", **rules)
    assert len(referred(result)) == count and int(read_segmentation(file)[0].sum()) == int(mask.sum())
    assert (result.get("FrameOfReferenceUID") is None) == name.startswith("us_cine")
