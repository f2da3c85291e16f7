"""Positions that are rounded to a tenth of a millimetre: a regular grid stays regular, an uneven one stays refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from fedmed_transforms import SegmentationToLabelsd, load_image, read_segmentation, write_segmentation
from fedmed_transforms.dicom.geometry.rounding import rounding_of
from tests.transforms.cases.written_series import write_slice

ORIENTATIONS = {"axial": [1.0, 0, 0, 0, 1, 0], "oblique": [0.8, 0.6, 0, -0.36, 0.48, -0.8]}

FIRST = np.array([-31.04, 17.53, 40.27])


def true_positions(plane: str, step: float, count: int) -> np.ndarray:
    cosines = ORIENTATIONS[plane]
    return FIRST + step * np.arange(count)[:, None] * np.cross(cosines[:3], cosines[3:])


def write(folder: Path, positions: np.ndarray, plane: str) -> Path:
    folder.mkdir()
    for number, position in enumerate(positions):
        values = {"ImageOrientationPatient": ORIENTATIONS[plane], "PixelSpacing": [0.4, 0.4]}
        place = [float(value) for value in position]
        write_slice(folder / f"{number}.dcm", np.full((6, 5), number, dtype=np.uint16), place, number + 1, {}, **values)
    return folder


@pytest.mark.parametrize("plane", ORIENTATIONS)
@pytest.mark.parametrize("count", [3, 10, 40])
@pytest.mark.parametrize("step", [0.3, 0.625, 0.7, 1.25, 3.33])
def test_a_rounded_grid_is_regular(tmp_path: Path, plane: str, step: float, count: int) -> None:
    """The fit's slices lie within the rounding of the true ones, and a mask goes out and comes back on its grid."""
    true = true_positions(plane, step, count)
    image = load_image(write(tmp_path / "s", np.round(true, 1), plane))
    assert image.shape[3] == count
    found = (image.affine[:3, 3] + torch.arange(count)[:, None] * image.affine[:3, 2]).numpy() * [-1, -1, 1]
    assert abs(found - true).max() <= 0.05 + 1e-9
    if count == 40:
        assert float(image.affine[:3, 2].norm()) == pytest.approx(step, abs=5e-4)
    mask = MetaTensor(torch.zeros(image.shape), affine=image.affine)
    mask[0, 1, 2], mask[0, torch.arange(count) % 5, 4, torch.arange(count)] = 1, 1
    file = write_segmentation(mask, tmp_path / "s", tmp_path / "seg.dcm", ["a"])
    held, affine, _ = read_segmentation(file)
    assert int(held.sum()) == int(mask.sum()) and held.shape[3] == count
    np.testing.assert_allclose(np.linalg.norm(affine[:3, 2]), image.affine[:3, 2].norm(), atol=1e-9)
    data = SegmentationToLabelsd("label", image_key="image")({"image": image, "label": load_image(file)})
    assert torch.equal(data["label"].as_tensor(), mask.as_tensor())


@pytest.mark.parametrize("plane", ORIENTATIONS)
@pytest.mark.parametrize("decimals", [1, 2, 6])
@pytest.mark.parametrize("moved", [0.2, -0.2, 0.3])
def test_a_slice_off_the_grid_is_refused(tmp_path: Path, plane: str, decimals: int, moved: float) -> None:
    positions = true_positions(plane, 1.25, 12)
    cosines = ORIENTATIONS[plane]
    positions[5] += moved * np.cross(cosines[:3], cosines[3:])
    with pytest.raises(ValueError, match="expected (evenly spaced slices|slices above each other)"):
        load_image(write(tmp_path / "s", np.round(positions, decimals), plane))


@pytest.mark.parametrize("step", [0.2, 0.25, 0.5, 1.0, 1.25])
@pytest.mark.parametrize("missing", [1, 5, 10])
def test_a_missing_slice_is_seen_among_rounded_ones(tmp_path: Path, step: float, missing: int) -> None:
    positions = np.delete(np.round(true_positions("axial", step, 12), 1), missing, axis=0)
    with pytest.raises(ValueError, match="expected evenly spaced slices"):
        load_image(write(tmp_path / "s", positions, "axial"))


def test_whole_millimetres_are_no_rounding(tmp_path: Path) -> None:
    positions = np.array([[0.0, 0, height] for height in (0, 2, 5, 8, 10)])
    with pytest.raises(ValueError, match=r"distances of 2\.000 to 3\.000 mm"):
        load_image(write(tmp_path / "s", positions, "axial"))


def test_a_lean_is_no_rounding(tmp_path: Path) -> None:
    """A gantry tilted by three degrees: the shift grows from slice to slice."""
    positions = np.round([[0.0, 0.05 * height, height] for height in np.arange(0, 20, 1.25)], 1)
    with pytest.raises(ValueError, match="expected slices above each other.*tilt='shear'"):
        load_image(write(tmp_path / "s", positions, "axial"))


def test_the_rounding_is_that_of_the_last_decimal() -> None:
    positions = np.array([[1.0, 0.25, -7.123], [2.0, 0.5, 1e-7 + 1 / 3]])
    np.testing.assert_allclose(rounding_of(positions), [0.05, 0.005, 0])
