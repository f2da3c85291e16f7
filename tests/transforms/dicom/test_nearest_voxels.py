"""Masks of volumes that rules made regular, on the slices that these came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from monai.data import MetaTensor

from fedmed_transforms import SaveSegmentationd, load_image
from fedmed_transforms.dicom.geometry.mask_grid import Plane
from fedmed_transforms.dicom.geometry.nearest_voxels import nearest_on_planes
from tests.dicom_validator import errors_in


def irregular(save_dicom: Callable[..., Path], folder: Path, slope: float, heights: list[float]) -> Path:
    """Slices of a bar that stands upright in the patient, 20 mm wide, from x = 20 mm, shifted with their height."""
    folder.mkdir()
    for number, height in enumerate(heights):
        shift = slope * height
        columns = np.arange(40) + shift
        pixels = np.tile(np.where((columns >= 20) & (columns < 40), 1000, 0).astype(np.uint16), (12, 1))
        save_dicom(
            folder / f"{number}.dcm", pixels, number=number + 1, ImagePositionPatient=[round(shift, 6), 0, height],
            StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4", SliceThickness=2,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("slope", "heights", "rules"),
    [
        (0.4, [0.0, 5, 10, 15], {"tilt": "shear"}),
        (0.0, [0.0, 2, 4, 9, 11], {"uneven": "resample"}),
        (0.4, [0.0, 5, 15, 20], {"tilt": "shear", "uneven": "resample"}),
    ],
)
def test_a_mask_goes_back_to_the_slices(
    tmp_path: Path, save_dicom: Callable[..., Path], slope: float, heights: list[float], rules: dict[str, str]
) -> None:
    folder = irregular(save_dicom, tmp_path / "series", slope, heights)
    image = load_image(folder, **rules)
    mask = MetaTensor((image.as_tensor() > 500).float(), meta=dict(image.meta))
    SaveSegmentationd("pred", str(tmp_path / "out"), ["bar"])({"pred": mask})
    (path,) = (tmp_path / "out").iterdir()
    assert errors_in(path, "Segmentation") == []
    written = pydicom.dcmread(path)
    assert written.NumberOfFrames == len(heights)
    for frame, group in zip(written.pixel_array, written.PerFrameFunctionalGroupsSequence, strict=True):
        (derivation,) = group.DerivationImageSequence
        uid = derivation.SourceImageSequence[0].ReferencedSOPInstanceUID
        (source,) = [item for item in map(pydicom.dcmread, folder.iterdir()) if uid == item.SOPInstanceUID]
        assert group.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
        assert np.abs((frame > 0).sum(axis=1) - (source.pixel_array > 0).sum(axis=1)).max() <= 1
        assert ((frame > 0) != (source.pixel_array > 0)).sum(axis=1).max() <= 1  # a pixel of the bar's edges


def test_pixels_outside_take_zero() -> None:
    mask = np.ones((2, 3, 3, 1), np.uint8)
    across, down = np.eye(3)[:2]
    near, beyond = (Plane(np.array([-1.4, 0, height]), across, down, 3, 5) for height in (0.4, 1.4))
    for channel in nearest_on_planes(mask, np.eye(4), [near, beyond]):
        np.testing.assert_array_equal(channel[0], [[0, 1, 1, 1, 0]] * 3)
        assert not channel[1].any()
