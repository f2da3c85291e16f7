"""Segmentations of every type are read as highdicom reads them, and are labels on their image; or they are refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientationd
from pydicom.uid import JPEGLSLossless, RLELossless

from fedmed_transforms import LabelsToChannelsd, LoadMedicalImaged, load_image, read_segmentation, write_segmentation
from tests.transforms.cases.segmentations import (
    MASKS,
    by_highdicom,
    drawn,
    labelled,
    labels,
    source_images,
    write_segments,
)
from tests.transforms.cases.structure_sets import AXIAL, OBLIQUE, write_ct
from tests.transforms.results.test_segmentation_sources import multi_frame

CASES = Path(os.environ.get("FEDMED_DATA", "")) / "cases"
public = pytest.mark.skipif(not os.environ.get("FEDMED_DATA"), reason="FEDMED_DATA names no folder of images")


def counts(values: Any) -> dict[float, int]:
    numbers, found = np.unique(np.asarray(values), return_counts=True)
    return dict(zip(numbers.tolist(), found.tolist(), strict=True))


@public
@pytest.mark.parametrize(
    ("case", "file"),
    [
        ("labelmap_seg", "labelmap_full.dcm"),
        ("seg_orientation_per_frame", "perframe_orient.dcm"),
        ("seg_orientation_per_frame", "bin2.dcm"),
        ("seg_no_frame_of_reference", "nofor.dcm"),
    ],
)
def test_public_segmentations_are_labels_of_their_image(case: str, file: str) -> None:
    loaded = load_image(CASES / case / file)
    assert loaded.sum(dim=(1, 2, 3)).tolist() == [12, 1]
    if file != "labelmap_full.dcm":  # which has all slices, the others the drawn ones
        assert loaded.shape == (2, 8, 6, 3) and float(loaded.affine[2, 3]) == 6
    assert counts(labels(CASES / case / "ct", CASES / case / file)) == {0: 227, 1: 12, 2: 1}


@public
@pytest.mark.parametrize(("file", "total"), [("frac.dcm", 4.0117645), ("seg_image_ct_true_fractional.dcm", 326.02356)])
def test_public_fractions(file: str, total: float) -> None:
    loaded = load_image(CASES / "seg_fractional" / file)
    assert float(loaded.sum()) == pytest.approx(total, rel=1e-6)
    assert 0 <= float(loaded.min()) <= float(loaded.max()) <= 1
    np.testing.assert_array_equal(np.asarray(loaded), by_highdicom(CASES / "seg_fractional" / file)[0])


def palette(entries: int) -> hd.PaletteColorLUTTransformation:
    table = np.arange(entries, dtype=np.uint8) * 7
    return hd.PaletteColorLUTTransformation(*(hd.PaletteColorLUT(0, table, name) for name in ("red", "green", "blue")))


KINDS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "binary": ("BINARY", (1, 2, 3), {}),
    "binary of all slices": ("BINARY", (1, 2), {"omit_empty_frames": False}),
    "label map": ("LABELMAP", (1, 2, 3), {"omit_empty_frames": False}),
    "label map of the drawn slices": ("LABELMAP", (1, 2, 3), {"omit_empty_frames": True}),
    "label map with gaps in the numbers": ("LABELMAP", (2, 7, 200), {}),
    "label map of 16 bits": ("LABELMAP", (1, 300, 60000), {}),
    "label map in colours": ("LABELMAP", (1, 2, 3), {"palette_color_lut_transformation": palette(4)}),
    "label map in run lengths": ("LABELMAP", (1, 2, 3), {"transfer_syntax_uid": RLELossless}),
    "label map in JPEG-LS": ("LABELMAP", (1, 2, 300), {"transfer_syntax_uid": JPEGLSLossless}),
}


@pytest.mark.parametrize(
    ("kind", "cosines"), [*((kind, AXIAL) for kind in KINDS), ("binary", OBLIQUE), ("label map", OBLIQUE)]
)
def test_every_type_is_read_as_by_highdicom(tmp_path: Path, kind: str, cosines: tuple[float, ...]) -> None:
    form, numbers, options = KINDS[kind]
    masks = drawn(numbers)
    series = write_ct(tmp_path / "ct", cosines)
    pixels = masks if form == "BINARY" else (masks * np.array(numbers)).sum(axis=-1).astype(np.uint16)
    path = write_segments(tmp_path / "seg.dcm", source_images(series), pixels, form, numbers, **options)
    expected, affine = by_highdicom(path)
    loaded = load_image(path)
    assert loaded.dtype == torch.float32
    np.testing.assert_array_equal(np.asarray(loaded), expected)
    np.testing.assert_allclose(np.asarray(loaded.affine), affine, atol=1e-4)
    read, _, names = read_segmentation(path)
    assert read.dtype == torch.bool and names == [f"segment {number}" for number in numbers]
    label = np.asarray(labels(series, path))[0]
    np.testing.assert_array_equal(label, (masks * np.array(numbers)).sum(axis=-1).transpose(2, 1, 0))


@pytest.mark.parametrize(("kind", "most"), [("OCCUPANCY", 100), ("PROBABILITY", 255), ("PROBABILITY", 7)])
def test_fractions_are_in_zero_to_one(tmp_path: Path, kind: str, most: int) -> None:
    series = write_ct(tmp_path / "ct")
    fractions = drawn((1,)) * np.linspace(0, 4, MASKS[2]).clip(0, 1)[:, None].astype(np.float32)
    options = {"fractional_type": kind, "max_fractional_value": most}
    path = write_segments(tmp_path / "seg.dcm", source_images(series), fractions, "FRACTIONAL", (1,), **options)
    loaded = load_image(path)
    np.testing.assert_array_equal(np.asarray(loaded), by_highdicom(path)[0])
    assert 0 < float(loaded.max()) <= 1 and len(loaded.unique()) > 2
    assert torch.equal(read_segmentation(path)[0], loaded.as_tensor())
    with pytest.raises(ValueError, match=r"seg\.dcm: found fractions, expected segments of 0 and 1"):
        labels(series, path)
    ones = drawn((1,)) * 1.0
    whole = write_segments(tmp_path / "all.dcm", source_images(series), ones, "FRACTIONAL", (1,), **options)
    assert counts(labels(series, whole)) == counts(drawn((1,)))


def test_overlapping_segments_stay_apart(tmp_path: Path) -> None:
    series, numbers = write_ct(tmp_path / "ct"), (1, 2, 3)
    masks = drawn(numbers, overlapping=True)
    assert (masks.sum(axis=-1) == 2).any()
    path = write_segments(tmp_path / "seg.dcm", source_images(series), masks, "BINARY", numbers)
    np.testing.assert_array_equal(np.asarray(load_image(path)), by_highdicom(path)[0])
    data = labelled(series, path)
    assert data["label"].shape == (1, *MASKS[::-1])
    rules = {"first": [1], "second": [2], "both": [1, 2], "third": [3], "all": "nonzero"}
    found = LabelsToChannelsd("label", rules)(data)["label"].as_tensor().numpy()
    first, second, third = masks.transpose(3, 2, 1, 0)
    expected = [first, second, first | second, third, first | second | third]
    np.testing.assert_array_equal(found, np.stack(expected))
    named = LabelsToChannelsd("label", {"a": ["segment 1"], "b": ["no such", "segment 3"]})(data)["label"]
    np.testing.assert_array_equal(named.as_tensor().numpy(), np.stack([first, third]))
    turned = Orientationd("label", axcodes="LAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(data)
    with pytest.raises(ValueError, match=r"seg\.dcm: found overlapping segments on another grid"):
        LabelsToChannelsd("label", rules)(turned)
    with pytest.raises(ValueError, match=r"seg\.dcm: found the label values 3, expected \[0, 1, 2\]"):
        LabelsToChannelsd("label", {"a": [1], "b": [2]})(data)
    with pytest.raises(ValueError, match=r"channel 'a': found 3 names, none of \('Segment 1',\) among them \(1 differ"):
        LabelsToChannelsd("label", {"a": ["Segment 1"]})(data)


def with_padding(dicom: pydicom.Dataset, value: int | None) -> None:
    """Moves the background of a label map to another value, or states none."""
    pixels = dicom.pixel_array.copy()
    pixels[pixels == 0] = value or 0
    dicom.PixelData = pixels.tobytes()
    dicom.SegmentSequence = [item for item in dicom.SegmentSequence if item.SegmentNumber]
    del dicom.PixelPaddingValue
    if value is not None:
        dicom.add_new("PixelPaddingValue", "US", value)


@pytest.mark.parametrize("padding", [0, 255, None])
def test_padding_touches_no_label(tmp_path: Path, padding: int | None) -> None:
    series, masks = write_ct(tmp_path / "ct"), drawn((1, 2))
    pixels = (masks * np.array((1, 2))).sum(axis=-1).astype(np.uint8)
    path = write_segments(tmp_path / "seg.dcm", source_images(series), pixels, "LABELMAP", (1, 2))
    dicom = pydicom.dcmread(path)
    with_padding(dicom, padding)
    dicom.save_as(path)
    assert load_image(path).shape[0] == 2
    np.testing.assert_array_equal(np.asarray(labels(series, path))[0], pixels.transpose(2, 1, 0))


def test_a_picture_with_padding_is_no_label_until_the_padding_is_kept(tmp_path: Path) -> None:
    """A label map as a plain DICOM series, whose background is declared as padding: it would become label 1."""
    series, drawing = write_ct(tmp_path / "ct"), write_ct(tmp_path / "label")
    for number, file in enumerate(sorted(drawing.iterdir())):
        dicom = pydicom.dcmread(file)
        pixels = (drawn((1, 2)) * np.array((1, 2))).sum(axis=-1)[number].astype(np.int16)
        dicom.PixelData = pixels.tobytes()
        dicom.add_new("PixelPaddingValue", "SS", 0)
        dicom.save_as(file)
    with pytest.raises(ValueError, match=r"label: found a label with a PixelPaddingValue.* rule padding='keep'"):
        LabelsToChannelsd("label", [[1], [2]])(labelled(series, drawing))
    keep = LoadMedicalImaged(["image", "label"], rules={"padding": "keep"})
    found = LabelsToChannelsd("label", [[1], [2]])(keep({"image": str(series), "label": str(drawing)}))["label"]
    np.testing.assert_array_equal(found.as_tensor().numpy(), drawn((1, 2)).transpose(3, 2, 1, 0))


def test_without_a_frame_of_reference_the_positions_decide(tmp_path: Path) -> None:
    series, masks = write_ct(tmp_path / "ct"), drawn((1, 2))
    path = write_segments(tmp_path / "seg.dcm", source_images(series), masks, "BINARY", (1, 2))
    dicom = pydicom.dcmread(path)
    del dicom.FrameOfReferenceUID
    dicom.save_as(path)
    np.testing.assert_array_equal(np.asarray(labels(series, path))[0], (masks * (1, 2)).sum(axis=-1).transpose(2, 1, 0))
    oblique = write_ct(tmp_path / "oblique", OBLIQUE)
    with pytest.raises(ValueError, match=r"seg\.dcm and .*oblique: mask of .* expected the grid of the image"):
        labels(oblique, path)


def orientation_per_frame(dicom: pydicom.Dataset) -> None:
    shared = dicom.SharedFunctionalGroupsSequence[0]
    for frame in dicom.PerFrameFunctionalGroupsSequence:
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del shared.PlaneOrientationSequence


def test_orientation_in_the_groups_of_the_frames(tmp_path: Path) -> None:
    series, masks = write_ct(tmp_path / "ct", OBLIQUE), drawn((1, 2))
    path = write_segments(tmp_path / "seg.dcm", source_images(series), masks, "BINARY", (1, 2))
    before = load_image(path)
    dicom = pydicom.dcmread(path)
    orientation_per_frame(dicom)
    dicom.save_as(path)
    after = load_image(path)
    assert torch.equal(after.as_tensor(), before.as_tensor()) and torch.equal(after.affine, before.affine)


def test_segments_of_one_multi_frame_image(tmp_path: Path, save_dicom: Callable[..., Path]) -> None:
    """Its frames are in another order than its slices."""
    source = multi_frame(save_dicom, tmp_path / "source.dcm", shared=True, slices=(2, 0, 3, 1))
    image = load_image(source)
    masks = torch.zeros(2, *image.shape[1:], dtype=torch.bool)
    masks[0, 1:5, 2:7, 1:3], masks[1, 2:4, 3:5, 1:4] = True, True
    write_segmentation(MetaTensor(masks, meta=image.meta), source, tmp_path / "seg.dcm", ["organ", "tumour"])
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "seg.dcm")), by_highdicom(tmp_path / "seg.dcm")[0])
    found = LabelsToChannelsd("label", [["organ"], ["tumour"]])(labelled(source, tmp_path / "seg.dcm"))["label"]
    assert torch.equal(found.as_tensor(), masks.float())
