"""Series and files of several volumes: refused with their element and number, or loaded by the rule `volume`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmed_transforms import SeriesRules, load_image
from tests.transforms.cases.written_series import CT, elements, expected, write_enhanced, write_series

CASES = Path(os.environ.get("FEDMED_DATA", "")) / "cases"
public = pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images")


def each(keyword: str, *values: Any) -> list[dict[str, Any]]:
    return [{keyword: value} for value in values]


def private(group: int, creator: str, byte: int, representation: str, *values: Any) -> list[dict[str, Any]]:
    return [{"private": {(group, creator, byte): (representation, value)}} for value in values]


KINDS = ["ORIGINAL\\PRIMARY\\M\\ND", "ORIGINAL\\PRIMARY\\P\\ND"]

CLASSIC: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]] = {
    "time points": ("TemporalPositionIdentifier", each("TemporalPositionIdentifier", 1, 2, 10)),
    "phases of the heart": ("TriggerTime", each("TriggerTime", 0, 40.5, 81)),
    "phases that differ a little": ("TriggerTime", each(
        "TriggerTime", *(lambda p, v=v: v * (40 + p) for v in range(5)))),
    "phases of a CT": ("NominalPercentageOfCardiacPhase", [{**CT, **it} for it in
                                                           each("NominalPercentageOfCardiacPhase", 5.0, 35.0, 75.0)]),
    "echo numbers": ("EchoNumbers", each("EchoNumbers", 1, 2)),
    "echo times": ("EchoTime", each("EchoTime", "4.9", "7.38", "12.1")),
    "b-values": ("DiffusionBValue", each("DiffusionBValue", 0.0, 50.0, 800.0)),
    "b-values of Siemens": ("(0019,100C)", private(0x19, "SIEMENS MR HEADER", 0x0C, "IS", "0", "50", "800")),
    "b-values of GE": ("(0043,1039)", private(
        0x43, "GEMS_PARM_01", 0x39, "IS", [0, 8, 0, 0], [50, 8], [1000000800, 8])),
    "b-values of Philips": ("(2001,1003)", private(0x2001, "Philips Imaging DD 001", 0x03, "FL", 0.0, 50.0, 800.0)),
    "b-values of UIH": ("(0065,1009)", private(0x65, "Image Private Header", 0x09, "FD", 0.0, 50.0, 800.0)),
    "directions": ("DiffusionGradientOrientation", each("DiffusionGradientOrientation", [0, 0, 1.0], [0, 1.0, 0])),
    "inversions": ("InversionTime", each("InversionTime", 700, 2500)),
    "flip angles": ("FlipAngle", each("FlipAngle", 5, 26)),
    "gated repetitions": ("AcquisitionNumber", [
        {"AcquisitionNumber": number, "RepetitionTime": time} for number, time in ((1, 2031.5), (2, 1988), (3, 2007))]),
    "repetitions": ("RepetitionTime", each("RepetitionTime", 500, 2000)),
    "acquisitions": ("AcquisitionNumber", each("AcquisitionNumber", 2, 10)),
    "frames of a PET": ("FrameReferenceTime", each("FrameReferenceTime", 5000.0, 15000.0, 100000.0)),
    "durations of a PET": ("ActualFrameDuration", each("ActualFrameDuration", 10000, 30000, 60000)),
    "times of day": ("AcquisitionTime", each("AcquisitionTime", "095959.9", "100001", "100003.1")),
    "times over midnight": ("AcquisitionTime", [{"AcquisitionDate": "20240101", "AcquisitionTime": "235959"},
                                                {"AcquisitionDate": "20240102", "AcquisitionTime": "000001"}]),
    "times of slices": ("AcquisitionTime", each(
        "AcquisitionTime", *(lambda p, v=v: f"1000{10 * v + (0, 4, 2)[p]:02d}" for v in range(3)))),
    "times of contents": ("ContentTime", each("ContentTime", "100000", "100002")),
    "dates and times": ("AcquisitionDateTime", each("AcquisitionDateTime", "20240101100000", "20240101100002.5")),
    "magnitude and phase": ("ImageType", each("ImageType", *KINDS)),
    "parts of GE": ("(0043,102F)", [{"ImageType": KINDS[0], **it}
                                    for it in private(0x43, "GEMS_PARM_01", 0x2F, "SS", 0, 2, 3)]),
    "instance numbers": ("InstanceNumber", [{}, {}, {}]),
    "echoes of time points": ("EchoTime and AcquisitionNumber", [
        {"EchoTime": echo, "AcquisitionNumber": time} for echo in (5, 20) for time in (1, 2, 3)]),
    "kinds of echoes": ("ImageType and EchoNumbers",
                        [{"ImageType": kind, "EchoNumbers": echo} for kind in KINDS for echo in (1, 2)]),
    "repeated b-values": ("DiffusionBValue and DiffusionGradientOrientation", [
        {"DiffusionBValue": b, "DiffusionGradientOrientation": along}
        for b in (0.0, 800.0, 1600.0) for along in ([0, 1.0, 0], [1.0, 0, 0])]),
}  # fmt: skip
"""The element that the message names, and the elements of each volume, in the order of the volumes."""


@pytest.mark.parametrize("slice_first", [False, True])
@pytest.mark.parametrize("name", CLASSIC)
def test_series_of_volumes(tmp_path: Path, name: str, slice_first: bool) -> None:
    """Each volume is that of its number, its channel is that of its number, and the refusal names what is true."""
    element, volumes = CLASSIC[name]
    folder, count = write_series(tmp_path / "s", volumes, slice_first=slice_first), len(CLASSIC[name][1])
    with pytest.raises(ValueError, match=rf"s: found {count} volumes of 3 slices each, told apart by .*") as error:
        load_image(folder)
    assert f"{element} (at one place" in str(error.value) or f"{element}) (at one place" in str(error.value)
    check(folder, count)


def check(path: Path, count: int) -> None:
    np.testing.assert_array_equal(load_image(path, volume="first")[0], expected(0))
    for number in range(count):
        image = load_image(path, volume=number)
        np.testing.assert_array_equal(image.as_tensor()[0], expected(number))
        np.testing.assert_allclose(image.affine, [[-1.5, 0, 0, -1], [0, -2, 0, -2], [0, 0, 3, 0], [0, 0, 0, 1]])
    channels = load_image(path, volume="channels")
    np.testing.assert_array_equal(channels.as_tensor(), np.stack([expected(number) for number in range(count)]))
    with pytest.raises(ValueError, match=f"volume: expected a number below {count}, .* volumes, found {count}"):
        load_image(path, volume=count)


def frame(**groups: Any) -> Any:
    return lambda: elements(**{sequence: [elements(**inner)] for sequence, inner in groups.items()})


ENHANCED: Mapping[str, tuple[str, Sequence[Callable[[], Any]]]] = {
    "time points": ("TemporalPositionIndex", [
        frame(FrameContentSequence={"TemporalPositionIndex": n}) for n in (1, 2)]),
    "phases": ("NominalCardiacTriggerDelayTime", [
        frame(CardiacSynchronizationSequence={"NominalCardiacTriggerDelayTime": t}) for t in (0.0, 33.5, 100.0)]),
    "b-values": ("DiffusionBValue", [frame(MRDiffusionSequence={"DiffusionBValue": b}) for b in (0.0, 1000.0)]),
    "echoes": ("EffectiveEchoTime", [frame(MREchoSequence={"EffectiveEchoTime": t}) for t in (4.9, 12.5)]),
    "kinds": ("FrameType", [frame(MRImageFrameTypeSequence={"FrameType": ["ORIGINAL", "PRIMARY", "T1", kind]})
                            for kind in ("M", "FIELD_MAP")]),
    "parts": ("ComplexImageComponent", [
        frame(MRImageFrameTypeSequence={"FrameType": ["ORIGINAL", "PRIMARY"], "ComplexImageComponent": part})
        for part in ("PHASE", "MAGNITUDE")]),
    "labels": ("ASLContext", [
        frame(MRArterialSpinLabelingSequence={"ASLContext": part}) for part in ("LABEL", "CONTROL")]),
    "stacks": ("StackID", [frame(FrameContentSequence={"StackID": part}) for part in ("2", "1")]),
    "nothing but their order": ("the order of the frames", [frame(), frame()]),
}  # fmt: skip


@pytest.mark.parametrize("slice_first", [False, True])
@pytest.mark.parametrize("name", ENHANCED)
def test_frames_of_volumes(tmp_path: Path, name: str, slice_first: bool) -> None:
    element, groups = ENHANCED[name]
    places = [(volume, position) for volume in range(len(groups)) for position in range(3)]
    places.sort(key=lambda place: place[::-1] if slice_first else place)
    path = write_enhanced(tmp_path / "s.dcm", [(*place, groups[place[0]]()) for place in places])
    with pytest.raises(ValueError, match=f"found {len(groups)} volumes of 3 slices each, told apart by {element} "):
        load_image(path)
    check(path, len(groups))


def test_files_of_a_volume_each(tmp_path: Path) -> None:
    """As Siemens writes time points since XA, and as unfolded mosaics come: the InstanceNumber tells files apart."""
    for volume, number in ((2, 11), (0, 2), (1, 5)):
        frames = [(volume, position, elements()) for position in range(3)]
        name = f"{number}.dcm"
        write_enhanced(tmp_path / "s" / name, frames, InstanceNumber=number, SOPInstanceUID=f"1.2.{number}")
    with pytest.raises(ValueError, match="found 3 volumes of 3 slices each, told apart by InstanceNumber "):
        load_image(tmp_path / "s")
    check(tmp_path / "s", 3)


@pytest.mark.parametrize("left_out", [(1, 1), (0, 2), (2, 0)])
@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber", "EchoNumbers"])
@pytest.mark.parametrize("volume", ["refuse", "first", "channels", 2])
def test_a_volume_without_a_slice_is_refused(
    tmp_path: Path, volume: str | int, keyword: str, left_out: tuple[int, int]
) -> None:
    folder = write_series(tmp_path / "s", each(keyword, 1, 2, 3), left_out=[left_out])
    counts = [3 - (number == left_out[0]) for number in range(3)]
    said = f"found 3 volumes of {counts[0]}, {counts[1]} and {counts[2]} slices, told apart by {keyword}"
    with pytest.raises(ValueError, match=f"{said}.*some without a slice; the rule `series` can choose by {keyword}"):
        load_image(folder, volume=volume)
    whole = next(number for number in range(3) if counts[number] == 3)
    found = load_image(folder, series={keyword: rf"{whole + 1}(\.0)?"})
    np.testing.assert_array_equal(found.as_tensor()[0], expected(whole))


def test_acquisitions_that_overlap(tmp_path: Path) -> None:
    """One ends where the next begins: each is a volume, but they are no channels."""
    left_out = [(0, position) for position in (4, 5, 6)] + [(1, position) for position in (0, 1, 2)]
    folder = write_series(tmp_path / "s", each("AcquisitionNumber", 2, 3), positions=7, left_out=left_out)
    found = "found 2 volumes of 4 and 4 slices, told apart by AcquisitionNumber"
    with pytest.raises(ValueError, match=found) as error:
        load_image(folder)
    assert "volume='first'" in str(error.value) and "volume='channels'" not in str(error.value)
    np.testing.assert_array_equal(load_image(folder, volume="first").as_tensor()[0], expected(0, 4))
    np.testing.assert_array_equal(load_image(folder, volume=1).as_tensor()[0], expected(1, 7)[..., 3:])
    with pytest.raises(ValueError, match=f"expected volumes of the same positions, {found}"):
        load_image(folder, volume="channels")


def test_numbers_in_no_order_are_not_taken(tmp_path: Path) -> None:
    """InstanceNumbers that follow neither volumes nor positions say nothing of what they count."""
    numbers = [[1, 3, 4], [2, 5, 6]]
    folder = write_series(tmp_path / "s", [{"InstanceNumber": lambda p, n=n: n[p]} for n in numbers])
    for volume in ("refuse", "first", 1, "channels"):
        with pytest.raises(ValueError, match="3 positions with more than one slice: .*told apart by no element"):
            load_image(folder, volume=volume)


def test_channels_beside_each_other_are_refused(tmp_path: Path) -> None:
    volumes = [{"EchoNumbers": 1}, {"EchoNumbers": 2, "ImagePositionPatient": lambda p: [5.0, 2.0, 3.0 * p]}]
    folder = write_series(tmp_path / "s", volumes)
    assert float(load_image(folder, volume=1).affine[0, 3]) == -5
    with pytest.raises(ValueError, match=r"at one place as channels, found .*EchoNumbers, 4\.00 mm from the first"):
        load_image(folder, volume="channels")


def test_one_volume_is_the_first(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [{}])
    for volume in ("first", 0, "channels"):
        np.testing.assert_array_equal(load_image(folder, volume=volume).as_tensor()[0], expected(0))
    with pytest.raises(ValueError, match="volume: expected a number below 1, the number of volumes, found 1"):
        load_image(folder, volume=1)


@pytest.mark.parametrize("volume", ["second", -1, 1.0, True, None, [0]])
def test_other_values_of_the_rule_are_refused(volume: Any) -> None:
    with pytest.raises(ValueError, match="volume: expected one of refuse, first, channels or a number from 0, found"):
        SeriesRules.of({"volume": volume})


PUBLIC = [
    ("fmri_philips_classic/fmri", "TemporalPositionIdentifier", (3, 64, 64, 9), None),
    ("fmri_siemens_enhanced/XA10", "TemporalPositionIndex", (4, 64, 64, 6), 10001649),
    ("philips_mixed_frames/IM_0027_fMAP.dcm", "FrameType", (2, 64, 64, 32), None),
]


@public
@pytest.mark.parametrize(("name", "element", "shape", "total"), PUBLIC)
def test_public_volumes(name: str, element: str, shape: tuple[int, ...], total: float | None) -> None:
    found = f"found {shape[0]} volumes of {shape[3]} slices each, told apart by {element} "
    with pytest.raises(ValueError, match=found):
        load_image(CASES / name)
    channels = load_image(CASES / name, volume="channels")
    assert channels.shape == shape and (total is None or float(channels.as_tensor().double().sum()) == total)
    for number in range(shape[0]):
        image = load_image(CASES / name, volume=number)
        np.testing.assert_array_equal(image.as_tensor()[0], channels.as_tensor()[number])
        np.testing.assert_allclose(image.affine, channels.affine)


@public
def test_public_field_map() -> None:
    """The second kind of the frames is the B0 map, Hz."""
    image = load_image(CASES / "philips_mixed_frames/IM_0027_fMAP.dcm", volume=1)
    assert (round(float(image.min()), 3), round(float(image.max()), 2)) == (-495.604, 497.31)


@public
def test_public_acquisitions() -> None:
    path = CASES / "overlap_of_two_acquisitions/acq"
    with pytest.raises(ValueError, match="2 volumes of 4 and 1 slices, told apart by AcquisitionNumber") as error:
        load_image(path)
    assert re.findall(r"volume=([^ ]+)", str(error.value)) == ["'first'", "1"]
    assert load_image(path, volume="first").shape == (1, 8, 6, 4)
