"""A mask of any image that loads is written, and read back at the same place in the patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file

from fedmed_transforms import load_image, read_segmentation, write_segmentation
from fedmed_transforms.dicom.geometry.mask_grid import mask_on_planes, planes_of_volume
from fedmed_transforms.dicom.geometry.orthonormal import MOST_TURN
from tests.dicom_validator import errors_in
from tests.transforms.results.oriented_images import ORIENTATIONS, accepted, rounded, write_images

CASES = [(name, decimals) for name in ORIENTATIONS for decimals in range(2, 7)]
LOADED = [case for case in CASES if accepted(rounded(ORIENTATIONS[case[0]], case[1]))]
REFUSED = [case for case in CASES if case not in LOADED]

ROUNDING = 1e-4
"""Millimetres that decimal strings of 16 characters, and positions of four decimals, leave."""


def marked(image: MetaTensor) -> MetaTensor:
    """A mask of one channel: a few pixels in every slice, the first and the last of the volume among them."""
    mask = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
    for slice_index in range(mask.shape[3]):
        mask[0, slice_index % 7, 5, slice_index] = 1
    mask[0, 0, 0, 0] = mask[0, -1, -1, -1] = mask[0, -1, 0, 0] = mask[0, 0, -1, -1] = 1
    return MetaTensor(mask, affine=image.affine)


def places(voxels: Any, affine: Any) -> Any:
    """RAS of voxels, (voxels, 3)."""
    return voxels @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3]


def apart(mask: MetaTensor, found: Any, affine: Any) -> Any:
    """Distances in mm of the marked voxels in an image and in its segmentation, (voxels,)."""
    voxels, last = np.argwhere(np.asarray(mask)[0]), mask.shape[3] - 1
    in_file = voxels * (1, 1, -1) + (0, 0, last)  # segmentations are stacked against the normal
    np.testing.assert_array_equal(np.argwhere(np.asarray(found)[..., ::-1]), voxels)
    return np.linalg.norm(places(in_file, affine) - places(voxels, mask.affine), axis=1)


def shift_of(image: MetaTensor) -> float:
    """Returns the shift in mm of the last slice from the first across the normal; highdicom stacks without it."""
    affine = np.asarray(image.affine)[:3]
    normal = np.cross(affine[:, 0], affine[:, 1])
    normal, way = normal / np.linalg.norm(normal), (image.shape[3] - 1) * affine[:, 2]
    return float(np.linalg.norm(way - way @ normal * normal))


def check_places(path: Path, mask: MetaTensor) -> None:
    """The file holds the mask within the tolerance that MOST_TURN states; highdicom finds it there, too."""
    spacing = np.linalg.norm(np.asarray(mask.affine)[:3, :2], axis=0)
    allowed = MOST_TURN * np.linalg.norm(np.argwhere(np.asarray(mask)[0])[:, :2] * spacing, axis=1) + ROUNDING
    read, affine, _ = read_segmentation(path)
    assert (apart(mask, read[0], affine) <= allowed).all()
    volume = hd.seg.segread(path).get_volume(combine_segments=False)
    ras = np.diag([-1.0, -1, 1, 1]) @ volume.affine[:, [2, 1, 0, 3]]
    assert (apart(mask, volume.array[..., 0].transpose(2, 1, 0), ras) <= allowed + shift_of(mask)).all()


@pytest.mark.parametrize("kind", ["series", "shared", "each", "slice"])
@pytest.mark.parametrize(("orientation", "decimals"), LOADED)
def test_a_mask_is_read_where_its_image_lies(tmp_path: Path, orientation: str, decimals: int, kind: str) -> None:
    source = write_images(tmp_path / "images", orientation, decimals, kind)
    image = load_image(source)
    mask = marked(image)
    path = write_segmentation(mask, source, tmp_path / "seg.dcm", ["lesion"])
    check_places(path, mask)
    read, affine, _ = read_segmentation(path)
    on_image = mask_on_planes(read.numpy(), affine.numpy(), planes_of_volume(image.affine.numpy(), image.shape[1:]))
    np.testing.assert_array_equal(on_image.transpose(0, 3, 2, 1), mask)
    written = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    found = np.array(written.ImageOrientationPatient, dtype=float).reshape(2, 3)
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-9)


@pytest.mark.parametrize(("orientation", "decimals"), REFUSED)
def test_cosines_that_are_not_perpendicular_are_refused(tmp_path: Path, orientation: str, decimals: int) -> None:
    source = write_images(tmp_path / "images", orientation, decimals, "slice")
    with pytest.raises(ValueError, match=r"d\.dcm: .*ImageOrientationPatient .*two perpendicular unit vectors"):
        load_image(source)
    with pytest.raises(ValueError, match=r"d\.dcm: .*ImageOrientationPatient .*two perpendicular unit vectors"):
        write_segmentation(torch.zeros(1, 250, 300), source, tmp_path / "seg.dcm", ["lesion"], affine=torch.eye(4))


def test_both_kinds_of_cosines_are_among_the_cases() -> None:
    assert {decimals for _, decimals in LOADED} == {2, 3, 4, 5, 6} and {decimals for _, decimals in REFUSED} == {2}
    assert {name for name, decimals in LOADED if decimals == 4} == set(ORIENTATIONS)


@pytest.mark.parametrize("kind", ["series", "each"])
@pytest.mark.parametrize("orientation", ["double oblique", "decubitus oblique"])
def test_the_file_is_valid(tmp_path: Path, orientation: str, kind: str) -> None:
    source = write_images(tmp_path / "images", orientation, 4, kind)
    path = write_segmentation(marked(load_image(source)), source, tmp_path / "seg.dcm", ["lesion"])
    assert errors_in(path, "Segmentation") == []


def test_cosines_may_differ_from_slice_to_slice_as_far_as_the_loader_accepts(tmp_path: Path) -> None:
    source = write_images(tmp_path / "images", "oblique", 4, "series")
    for name, change in zip("abce", (2e-4, -4e-4, 9e-4, -6e-4), strict=True):
        dicom = pydicom.dcmread(source / f"{name}.dcm")
        dicom.ImageOrientationPatient = [1, round(change, 4), 0, 0, *dicom.ImageOrientationPatient[4:]]
        dicom.save_as(source / f"{name}.dcm")
    mask = marked(load_image(source))
    path = write_segmentation(mask, source, tmp_path / "seg.dcm", ["lesion"])
    check_places(path, mask)


def test_a_dose_grid_has_a_mask_at_its_offsets(tmp_path: Path) -> None:
    source = str(get_testdata_file("rtdose.dcm", download=False))
    mask = marked(load_image(source))
    check_places(write_segmentation(mask, source, tmp_path / "seg.dcm", ["target"]), mask)


def test_a_segmentation_with_rounded_cosines_is_read(tmp_path: Path) -> None:
    """As others write them; highdicom refuses to stack its frames."""
    source = write_images(tmp_path / "images", "double oblique", 3, "series")
    mask = marked(load_image(source))
    path = write_segmentation(mask, source, tmp_path / "seg.dcm", ["lesion"])
    dicom = pydicom.dcmread(path)
    group = dicom.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    group.ImageOrientationPatient = list(rounded(ORIENTATIONS["double oblique"], 3).ravel())
    dicom.save_as(path)
    read, affine, _ = read_segmentation(path)
    assert (apart(mask, read[0], affine) <= ROUNDING).all()


@pytest.mark.parametrize("kind", ["series", "slice"])
def test_orientation_and_spacing_of_each_frame(tmp_path: Path, kind: str) -> None:
    """Some writers state them in the functional groups of every frame."""
    source = write_images(tmp_path / "images", "oblique", 6, kind)
    mask = marked(load_image(source))
    path = write_segmentation(mask, source, tmp_path / "seg.dcm", ["lesion"])
    dicom = pydicom.dcmread(path)
    shared = dicom.SharedFunctionalGroupsSequence[0]
    for frame in dicom.PerFrameFunctionalGroupsSequence:
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
        frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
    del shared.PlaneOrientationSequence, shared.PixelMeasuresSequence
    dicom.save_as(path)
    read, affine, _ = read_segmentation(path)
    assert (apart(mask, read[0], affine) <= ROUNDING).all()


def break_positions(dicom: pydicom.Dataset) -> None:
    dicom.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[2] += 1


def break_orientation(dicom: pydicom.Dataset) -> None:
    cosines = pydicom.Dataset()
    cosines.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dicom.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = [cosines]


def repeat_a_frame(dicom: pydicom.Dataset) -> None:
    groups = dicom.PerFrameFunctionalGroupsSequence
    groups[1].PlanePositionSequence = groups[0].PlanePositionSequence


def drop_a_position(dicom: pydicom.Dataset) -> None:
    del dicom.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence


def shift_a_frame(dicom: pydicom.Dataset) -> None:
    dicom.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[0] += 5


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (break_positions, "expected evenly spaced slices"),
        (break_orientation, "expected frames of one ImageOrientationPatient, found several"),
        (repeat_a_frame, "expected one frame of a segment on a slice, found several"),
        (drop_a_position, "found some without ImagePositionPatient"),
        (shift_a_frame, "expected slices above each other"),
    ],
)
def test_frames_that_form_no_stack_are_refused(tmp_path: Path, damage: Callable[..., None], said: str) -> None:
    source = write_images(tmp_path / "images", "axial", 6, "series")
    path = write_segmentation(marked(load_image(source)), source, tmp_path / "seg.dcm", ["lesion"])
    dicom = pydicom.dcmread(path)
    damage(dicom)
    dicom.save_as(path)
    with pytest.raises(ValueError, match=rf"seg\.dcm: .*{said}"):
        read_segmentation(path)
