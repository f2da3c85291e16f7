"""DICOM series to volumes that lie where the patient lay, and series that are no volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from fedmed_transforms import load_image

OBLIQUE = [0.8, 0.6, 0.0, -0.36, 0.48, -0.8]
"""Two perpendicular unit vectors that no axis is parallel to."""

Writer = Callable[..., Path]


def content(point: np.ndarray) -> np.ndarray:
    """A linear function of the place in the patient, LPS mm: linear interpolation must keep it."""
    return 1000 + 3 * point[..., 0] - 2 * point[..., 1] + 5 * point[..., 2]


@pytest.fixture
def write(tmp_path: Path, save_dicom: Callable[..., Path]) -> Writer:
    """Writes slices of ``content``: ``write(positions, cosines=..., rows=6, columns=5, **elements)``."""

    def write_series(
        positions: Sequence[Sequence[float]], cosines: Sequence[float] = (1, 0, 0, 0, 1, 0), **elements: Any
    ) -> Path:
        along = np.asarray(cosines, dtype=float).reshape(2, 3)
        spacing = elements.pop("PixelSpacing", [2.0, 1.5])  # between rows, between columns
        for number, position in enumerate(positions):
            rows, columns = np.meshgrid(np.arange(6), np.arange(5), indexing="ij")
            points = (
                np.asarray(position)
                + columns[..., None] * spacing[1] * along[0]
                + rows[..., None] * spacing[0] * along[1]
            )
            stored = np.round(content(points) * 8).astype(np.uint16)
            name = f"{(number * 7) % 11:02d}-{number}.dcm"  # another order than the slices'
            places = {"ImagePositionPatient": list(position), "ImageOrientationPatient": list(cosines)}
            scale = {"PixelSpacing": spacing, "RescaleSlope": 0.125, "RescaleIntercept": 0, "SliceThickness": 1}
            save_dicom(tmp_path / "s" / name, stored, number=number + 1, **{**places, **scale, **elements})
        return tmp_path / "s"

    (tmp_path / "s").mkdir()
    return write_series


def along_normal(cosines: Sequence[float], distances: Sequence[float]) -> list[list[float]]:
    along = np.asarray(cosines, dtype=float).reshape(2, 3)
    normal = np.cross(along[0], along[1])
    return [list(np.array([10.0, -20.0, 30.0]) + distance * normal) for distance in distances]


def check_places(image: Any, tolerance: float = 0.1) -> None:
    """Every voxel holds the value of the place where the affine puts it."""
    values = np.asarray(image)[0]
    index = np.stack(np.meshgrid(*(np.arange(side) for side in values.shape), indexing="ij"), axis=-1)
    ras = index @ image.affine.numpy()[:3, :3].T + image.affine.numpy()[:3, 3]
    np.testing.assert_allclose(values, content(ras * [-1, -1, 1]), atol=tolerance)


@pytest.mark.parametrize(
    "cosines", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1], [-1, 0, 0, 0, -1, 0], OBLIQUE]
)
@pytest.mark.parametrize("distances", [[0, 3, 6, 9], [9, 6, 3, 0], [6, 0, 9, 3]])
def test_every_voxel_is_where_the_affine_says(write: Writer, cosines: list[float], distances: list[float]) -> None:
    image = load_image(write(along_normal(cosines, distances), cosines))
    assert image.shape == (1, 5, 6, 4)
    check_places(image)
    np.testing.assert_allclose(image.affine[:3, :3].norm(dim=0), [1.5, 2, 3], atol=1e-6)


def test_the_order_is_that_of_the_positions_alone(write: Writer) -> None:
    image = load_image(write(along_normal(OBLIQUE, [8, 2, 6, 0, 4]), OBLIQUE))
    check_places(image)


@pytest.mark.parametrize(
    ("distances", "said"),
    [
        ([0, 3, 6, 12, 15], r"widest between .*02-\d?\.dcm|where 1 slices may be missing"),
        ([0, 3, 6.5, 9], r"distances of 2\.500 to 3\.500 mm"),
        ([0, 1, 5], r"distances of 1\.000 to 4\.000 mm"),
    ],
)
def test_uneven_slices_are_refused_and_resampled_when_told(write: Writer, distances: list[float], said: str) -> None:
    folder = write(along_normal(OBLIQUE, distances), OBLIQUE)
    with pytest.raises(ValueError, match=said):
        load_image(folder)
    image = load_image(folder, uneven="resample")
    steps = np.diff(distances)
    assert image.shape[3] == round(distances[-1] / steps.min()) + 1
    assert image.affine[:3, 2].norm() == pytest.approx(distances[-1] / (image.shape[3] - 1), abs=1e-6)
    check_places(image)


def test_a_missing_slice_is_named(write: Writer) -> None:
    folder = write(along_normal(OBLIQUE, [0, 3, 9, 12]), OBLIQUE)
    with pytest.raises(
        ValueError, match=r"07-1\.dcm and .*03-2\.dcm, where 1 slices may be missing.*uneven='resample'"
    ):
        load_image(folder)


def test_a_tilted_gantry_is_refused_and_sheared_when_told(write: Writer) -> None:
    cosines = [1, 0, 0, 0, 0.9483237, -0.3173047]  # tilted by 18.5 degrees, the table moves along z
    folder = write([[0, 0, 4.0 * number] for number in range(5)], cosines)
    with pytest.raises(ValueError, match=r"04-4|06-4.*tilted by 18\.5 degrees.*tilt='shear'"):
        load_image(folder)
    image = load_image(folder, tilt="shear")
    axes = image.affine.numpy()[:3, :3]
    assert abs(axes[:, 1] @ axes[:, 2]) < 1e-9 and image.shape[3] == 5 and image.shape[2] > 6
    inside = np.asarray(image)[0].copy()
    values, lowest = inside, inside.min()
    index = np.stack(np.meshgrid(*(np.arange(side) for side in values.shape), indexing="ij"), axis=-1)
    ras = index @ axes.T + image.affine.numpy()[:3, 3]
    right = np.isclose(values, content(ras * [-1, -1, 1]), atol=0.1)
    assert right.sum() >= 5 * 5 * 5  # of 6 rows one is cut by the interpolation
    assert (right | (values < content(ras * [-1, -1, 1]))).all() and lowest > 0


def test_duplicates_are_refused_and_dropped_only_if_they_are_the_same(write: Writer, tmp_path: Path) -> None:
    positions = along_normal(OBLIQUE, [0, 3, 3, 6])
    folder = write(positions, OBLIQUE)
    with pytest.raises(ValueError, match=r"1 positions with more than one slice: .*07-1\.dcm, .*03-2\.dcm"):
        load_image(folder)
    check_places(load_image(folder, duplicates="drop"))


def test_duplicates_with_other_pixels_are_never_dropped(write: Writer) -> None:
    folder = write(along_normal(OBLIQUE, [0, 3, 6]), OBLIQUE, EchoNumbers=1)
    first = sorted(folder.iterdir())
    for file in first:
        other = pydicom.dcmread(file)
        other.EchoNumbers, other.SOPInstanceUID = 2, pydicom.uid.generate_uid()
        other.PixelData = bytes(len(other.PixelData))
        other.save_as(file.with_name(f"echo-{file.name}"))
    with pytest.raises(ValueError, match="3 of them with different pixels"):
        load_image(folder, duplicates="drop")
    check_places(load_image(folder, series={"EchoNumbers": "1"}))
    assert float(load_image(folder, series={"EchoNumbers": "2"}).max()) == 0


def test_mixed_orientations(write: Writer, save_dicom: Any, letter: Any) -> None:
    folder = write(along_normal(OBLIQUE, [0, 3, 6]), OBLIQUE)
    save_dicom(folder / "sagittal.dcm", letter, plane="sagittal", number=9)
    found = r"slices of one orientation, found 3 with .*; 1 with .*sagittal\.dcm.*orientations='largest'"
    with pytest.raises(ValueError, match=found):
        load_image(folder)
    check_places(load_image(folder, orientations="largest"))


def test_localisers(write: Writer, save_dicom: Any, letter: Any) -> None:
    folder = write(along_normal(OBLIQUE, [0, 3, 6]), OBLIQUE)
    save_dicom(folder / "scout.dcm", letter, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(ValueError, match=r"scout\.dcm: found 1 localisers among 4 images.*localisers='drop'"):
        load_image(folder)
    check_places(load_image(folder, localisers="drop"))


def strip(folder: Path, keyword: str) -> None:
    for file in folder.iterdir():
        dicom = pydicom.dcmread(file)
        del dicom[keyword]
        dicom.save_as(file)


@pytest.mark.parametrize("missing", ["ImagePositionPatient", "PixelSpacing"])
def test_missing_geometry_is_refused_and_assumed_when_told(write: Writer, missing: str) -> None:
    folder = write(along_normal(OBLIQUE, [0, 3, 6]), OBLIQUE)
    strip(folder, missing)
    with pytest.raises(ValueError, match=r"found no (position|pixel spacing) in 3 of 3 images.*assume_spacing"):
        load_image(folder)
    image = load_image(folder, assume_spacing=(1.5, 2.0, 3.0))
    if missing == "PixelSpacing":
        check_places(image)
    else:  # the orientation that the files state is kept
        expected = np.diag([-1, -1, 1]) @ np.stack([*np.reshape(OBLIQUE, (2, 3)), [-0.48, 0.64, 0.6]], axis=1)
        np.testing.assert_allclose(image.affine[:3, :3], expected * [1.5, 2.0, 3.0], atol=1e-9)


def test_a_missing_orientation_is_axial_only_where_the_positions_are(write: Writer, tmp_path: Path) -> None:
    folder = write([[10, -20, 30], [10, -20, 33], [10, -20, 36]])
    strip(folder, "ImageOrientationPatient")
    with pytest.raises(ValueError, match="no orientation in 3 of 3 images; the rule assume_spacing.*and axial slices$"):
        load_image(folder)
    check_places(load_image(folder, assume_spacing=(1.5, 2.0, 3.0)))
    for file in folder.iterdir():
        file.unlink()
    write(along_normal(OBLIQUE, [0, 3, 6]), OBLIQUE)
    strip(folder, "ImageOrientationPatient")
    with pytest.raises(ValueError, match="their positions are not those of axial slices, so no rule assumes"):
        load_image(folder)
    with pytest.raises(ValueError, match="no orientation, and positions that are not those of 3 axial slices"):
        load_image(folder, assume_spacing=(1.5, 2.0, 3.0))
