"""An RTSTRUCT is a label on its CT, structure by structure; what does not fit the CT is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from fedmed_transforms import LabelsToChannelsd, LoadMedicalImaged, SegmentationToLabelsd, load_image
from fedmed_workflows import SegmentationSite
from fedmed_workflows.sites.cases import Case, segmentation_reader
from tests.transforms.cases.segmentations import labelled
from tests.transforms.cases.structure_sets import (
    AXIAL,
    OBLIQUE,
    SHAPE,
    SPACING,
    circle,
    write_ct,
    write_structures,
)

CLOSED = "CLOSED_PLANAR"
RADIUS = 30.0
PIXEL = SPACING[0] * SPACING[1]


def disc(radius: float = RADIUS, slices: tuple[int, ...] = (2, 3, 4), x: float = 40.3, y: float = 35.8) -> list[Any]:
    return [(CLOSED, circle(x, y, radius, z)) for z in slices]


def channels(tmp_path: Path, structures: dict[str, Any], rules: Any, **options: Any) -> np.ndarray:
    """The channels (n, X, Y, Z) of structures on a CT."""
    cosines = options.get("cosines", AXIAL)
    series = write_ct(tmp_path / "ct", cosines)
    data = labelled(series, write_structures(tmp_path / "rs.dcm", structures, **options))
    return np.asarray(LabelsToChannelsd("label", rules)(data)["label"])


def near(found: Any, area: float) -> bool:
    """Whether a number of pixels is within 1% of an area in mm^2."""
    return abs(float(found) * PIXEL - area) <= 0.01 * area


@pytest.mark.parametrize("cosines", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_the_area_is_the_polygons_to_one_percent(tmp_path: Path, cosines: tuple[float, ...]) -> None:
    square = np.array([[10.2, 8.4, 1], [60.7, 8.4, 1], [60.7, 50.1, 1], [10.2, 50.1, 1]])
    structures = {"Heart": disc(), "GTV": [(CLOSED, square)]}
    heart, tumour = channels(tmp_path, structures, {"heart": ["Heart"], "tumour": ["GTV"]}, cosines=cosines)
    assert np.flatnonzero(heart.any(axis=(0, 1))).tolist() == [2, 3, 4]
    assert all(near(area, np.pi * RADIUS**2) for area in heart.sum(axis=(0, 1))[2:5])
    expected = np.zeros(SHAPE)
    expected[11:61, 9:51, 1] = 1  # the pixels whose centre lies inside
    np.testing.assert_array_equal(tumour, expected)


def test_overlapping_structures_stay_apart(tmp_path: Path) -> None:
    structures = {"PTV": disc(30), "GTV": disc(18), "BODY": disc(40, tuple(range(7)))}
    found = channels(tmp_path, structures, {"gtv": ["GTV"], "ptv": ["PTV"], "either": ["GTV", "PTV"]})
    gtv, ptv, either = found
    assert near(gtv.sum() / 3, np.pi * 18**2) and near(ptv.sum() / 3, np.pi * 30**2)
    assert ((gtv == 1) <= (ptv == 1)).all() and np.array_equal(either, ptv)


def ring(kind: str) -> list[Any]:
    """A disc with a hole: an inner contour, or one outline with a channel to the hole."""
    outer, inner = circle(40.3, 35.8, 30, 3), circle(40.3, 35.8, 15, 3)
    if kind == "keyhole":
        return [(CLOSED, np.concatenate([outer, outer[:1], inner[::-1][-1:], inner[::-1], outer[:1]]))]
    return [("CLOSEDPLANAR_XOR" if kind == "xor" else CLOSED, points) for points in (inner, outer)]


@pytest.mark.parametrize("kind", ["inner contour", "xor", "keyhole"])
def test_holes(tmp_path: Path, kind: str) -> None:
    (found,) = channels(tmp_path, {"wall": ring(kind)}, {"wall": ["wall"]})
    assert near(found.sum(), np.pi * (30**2 - 15**2)) and found[40, 36, 3] == 0


def test_an_island_in_a_hole_and_a_contour_stored_twice(tmp_path: Path) -> None:
    island = (CLOSED, circle(40.3, 35.8, 6, 3))
    (found,) = channels(tmp_path, {"wall": [*ring("inner contour"), island, island]}, [["wall"]])
    assert near(found.sum(), np.pi * (30**2 - 15**2 + 6**2)) and found[40, 36, 3] == 1


def test_a_contour_beyond_the_image_is_cut_off(tmp_path: Path) -> None:
    (found,) = channels(tmp_path, {"couch": disc(30, (3,), x=-0.5, y=36)}, [["couch"]])
    assert near(found.sum(), np.pi * RADIUS**2 / 2)


def test_positions_rounded_to_a_tenth_of_a_millimetre(tmp_path: Path) -> None:
    (found,) = channels(tmp_path, {"GTV": disc()}, [["GTV"]], decimals=1)
    assert near(found.sum() / 3, np.pi * RADIUS**2)


REFUSED = {
    "another case": ({"gtv": disc()}, r"channel 'tumour': found 1 names, none of \('GTV',\) among them \(1 differ in"),
    "no contour": ({"GTV": [], "Heart": disc()}, "the structure 'GTV': found no contour"),
    "points": ({"GTV": [("POINT", [[1, 2, 3]])], "Heart": disc()}, "'GTV': found contours POINT, expected CLOSED_PLAN"),
    "open": ({"GTV": [*disc(), ("OPEN_PLANAR", circle(9, 9, 5, 1))], "Heart": disc()}, "found contours OPEN_PLANAR"),
    "between slices": (
        {"GTV": [(CLOSED, circle(40, 36, 20, z)) for z in (2.5, 3.5)], "Heart": disc()},
        r"'GTV': found a contour 1\.5 mm from the nearest slice of the image, expected at most 0\.125 mm",
    ),
    "beyond": ({"GTV": disc(slices=(6, 7)), "Heart": disc()}, "'GTV': found a contour 3 mm beyond the last slice"),
    "every second": ({"GTV": disc(slices=(0, 2, 4)), "Heart": disc()}, "'GTV': found contours 2 slices .* apart"),
    "crossing": (
        {"GTV": [*disc(20, (3,), x=35), *disc(20, (3,), x=50)], "Heart": disc()},
        "'GTV': found two contours that cross each other on a slice",
    ),
    "tilted": (
        {"GTV": [(CLOSED, circle(40, 36, 20, 3) + np.linspace(0, 1, 180)[:, None] * [0, 0, 1])], "Heart": disc()},
        "'GTV': found a contour .* mm from the nearest slice",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_structure_that_does_not_fit_is_refused_where_a_channel_asks_for_it(tmp_path: Path, kind: str) -> None:
    structures, said = REFUSED[kind]
    with pytest.raises(ValueError, match=rf"rs\.dcm: channel 'tumour': .*{said}" if "channel" not in said else said):
        channels(tmp_path, structures, {"tumour": ["GTV"]})
    if "Heart" in structures:
        data = labelled(tmp_path / "ct", tmp_path / "rs.dcm")
        assert float(LabelsToChannelsd("label", [["Heart"]])(data)["label"].sum()) > 0


def test_a_set_without_any_fitting_structure_is_refused_at_once(tmp_path: Path) -> None:
    series = write_ct(tmp_path / "ct")
    between = write_structures(tmp_path / "rs.dcm", {"GTV": [(CLOSED, circle(40, 36, 20, 2.5))], "iso": []})
    with pytest.raises(ValueError, match=r"rs\.dcm and .*ct: found no structure that fits the image: .* 1\.5 mm"):
        labelled(series, between)
    other = write_structures(tmp_path / "other.dcm", {"GTV": disc()}, frame="1.2.3.99")
    with pytest.raises(ValueError, match=r"other\.dcm and .*ct: found two frames of reference, expected structures of"):
        labelled(series, other)


def test_only_the_structures_of_the_channels_are_drawn(tmp_path: Path) -> None:
    between = [(CLOSED, circle(40, 36, 20, 2.5))]
    path = write_structures(tmp_path / "rs.dcm", {"GTV": disc(20), "PTV": disc(30), "couch": between})
    data = LoadMedicalImaged(["image", "label"])({"image": str(write_ct(tmp_path / "ct")), "label": str(path)})
    rules: Any = {"tumour": ["GTV", "GTVp"]}
    label = SegmentationToLabelsd("label", "image", channels=rules)(data)
    assert label["label"].unique().tolist() == [0, 1]
    assert near(LabelsToChannelsd("label", rules)(label)["label"].sum() / 3, np.pi * 20**2)
    with pytest.raises(ValueError, match="channel '0': the structure 'PTV': found contours that were not drawn"):
        LabelsToChannelsd("label", [["PTV"]])(label)
    with pytest.raises(ValueError, match="found no structure that fits the image: a contour 1.5 mm from"):
        SegmentationToLabelsd("label", "image", channels=[["couch"]])(data)
    whole = SegmentationToLabelsd("label", "image", channels=["nonzero"])(data)["label"]
    assert whole.unique().tolist() == [0, 2]


def test_every_structure_or_numbers(tmp_path: Path) -> None:
    structures = {"GTV": disc(20), "PTV": disc(30), "isocentre": [("POINT", [[1, 2, 3]])]}
    (found,) = channels(tmp_path, structures, {"foreground": "nonzero"})
    assert near(found.sum() / 3, np.pi * 30**2)
    data = labelled(tmp_path / "ct", tmp_path / "rs.dcm")
    with pytest.raises(ValueError, match="channel 'a': found label values, .* expected the names of structures"):
        LabelsToChannelsd("label", {"a": [1]})(data)
    mixed = LabelsToChannelsd("label", {"a": [1, "PTV", "PTV_60"]})(data)["label"]
    assert np.array_equal(np.asarray(mixed)[0], found)


def test_a_recipe_of_names_and_values_reads_the_labels_of_other_sites(tmp_path: Path) -> None:
    """One site has contours, the other NIfTI labels: the recipe names both."""
    nib.save(nib.Nifti1Image(np.ones((5, 4, 3), np.int16), np.eye(4)), tmp_path / "image.nii")
    nib.save(nib.Nifti1Image(np.eye(5, 4, dtype=np.uint8)[..., None].repeat(3, 2), np.eye(4)), tmp_path / "label.nii")
    data = labelled(tmp_path / "image.nii", tmp_path / "label.nii")
    assert float(LabelsToChannelsd("label", {"tumour": [1, "GTV"]})(data)["label"].sum()) == 12
    with pytest.raises(ValueError, match=r"label\.nii: channel 'tumour': found label values without names, expected"):
        LabelsToChannelsd("label", {"tumour": ["GTV"]})(data)


def test_contours_are_no_image(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "one" / "rs.dcm", {"GTV": disc()})
    for source in (path, path.parent):
        with pytest.raises(ValueError, match=r"one.*: found no DICOM image, but contours without voxels \(RTSTRUCT\)"):
            load_image(source)
        with pytest.raises(ValueError, match="found no DICOM image, but contours"):
            LoadMedicalImaged("image")({"image": str(source)})
    data = LoadMedicalImaged(["image", "label"])({"image": str(write_ct(tmp_path / "ct")), "label": str(path)})
    with pytest.raises(ValueError, match=r"rs\.dcm: expected labels .* found a structure set"):
        LabelsToChannelsd("label", [["GTV"]])(data)


def test_a_damaged_set_is_named_and_not_quoted(tmp_path: Path) -> None:
    series, path = write_ct(tmp_path / "ct"), write_structures(tmp_path / "rs.dcm", {"Doe^Jane": disc()})
    dicom = pydicom.dcmread(path)
    dicom.ROIContourSequence[0].ContourSequence[1].ContourData = ["1.5"] * 10
    dicom.save_as(path)
    with pytest.raises(ValueError, match=r"rs\.dcm: expected a readable structure set .*10 coordinates") as error:
        labelled(series, path)
    assert "Jane" not in str(error.value)


def test_a_site_of_radiotherapy(tmp_path: Path) -> None:
    """CT series in images, a structure set for each in labels, as a file or as a folder with it."""
    for name in ("a", "b", "c"):
        write_ct(tmp_path / "images" / name)
        file = tmp_path / "labels" / ("c/rs.dcm" if name == "c" else f"{name}.dcm")
        write_structures(file, {"PTV": disc(30), "GTV": disc(20)})
    site = SegmentationSite(str(tmp_path), held_out=True)
    read = segmentation_reader({"channels": {"tumour": ["GTV"]}})
    for entry in site.test:
        image, counts = read(Case(entry["image"], entry["label"], "p"))
        assert image.shape == (1, *SHAPE) and counts == {"images": 1, "slices": 7, "class tumour": 3}


def test_contours_through_pixel_centres_have_their_area_and_share_no_pixel(tmp_path: Path) -> None:
    corners = np.array([[0, 0], [10, 0], [10, 10], [0, 10]])
    squares = [(CLOSED, np.column_stack([corners + place, np.full(4, 3)])) for place in ([10, 10], [20, 10], [30, 20])]
    hole = [(CLOSED, np.column_stack([corners // 2 + [10, 12], np.full(4, 3)]))]
    tumour, ring = channels(
        tmp_path, {"GTV": squares, "ring": squares[:1] + hole}, {"tumour": ["GTV"], "ring": ["ring"]}
    )
    assert tumour.sum() == 300 and ring.sum() == 75


def test_a_structure_without_a_number_is_refused_by_name(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "rs.dcm", {"GTV": disc()})
    dicom = pydicom.dcmread(path)
    del dicom.StructureSetROISequence[0].ROINumber
    dicom.save_as(path)
    with pytest.raises(ValueError, match="rs.dcm: .*a structure without ROINumber"):
        labelled(write_ct(tmp_path / "ct"), path)
