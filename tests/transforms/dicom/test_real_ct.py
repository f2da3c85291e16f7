"""Real CT series, compared with what dcm2niix makes of them; the folder is named by FEDMED_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from fedmed_transforms import load_image

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images"),
]


@pytest.fixture
def ct() -> Path:
    return Path(os.environ["FEDMED_DATA"]) / "ct"


def test_regular_series_equals_dcm2niix_in_world_coordinates(ct: Path) -> None:
    """Its volume has its rows turned around and its values quantised to int16 by a slope of 0.0276."""
    ours, theirs = load_image(ct / "head_regular_jpegls"), nib.load(ct / "head_regular.nii.gz")
    to_theirs = np.linalg.inv(theirs.affine) @ ours.affine.numpy()
    turned = np.array([[1, 0, 0, 0], [0, -1, 0, 511], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(to_theirs, turned, atol=1e-4)
    values = theirs.get_fdata()[:, ::-1, :]
    assert np.abs(values - ours[0].numpy()).max() <= float(theirs.dataobj.slope) / 2 + 1e-6
    assert float(ours.min()) == -1024 and float(ours.max()) > 700


def test_tilted_and_uneven_series_is_no_plain_volume(ct: Path) -> None:
    folder = ct / "head_tilted_uneven"
    with pytest.raises(ValueError, match=r"28\.dcm.*tilted by 18\.5 degrees.*tilt='shear'"):
        load_image(folder)
    with pytest.raises(ValueError, match=r"distances of 1\.081 to 6\.999 mm.*uneven='resample'"):
        load_image(folder, tilt="shear")


def test_it_is_straightened_without_moving_what_the_slices_show(ct: Path) -> None:
    """At the centre of every slice's own pixels the straightened volume shows the slice's own values."""
    import pydicom

    folder = ct / "head_tilted_uneven"
    volume = load_image(folder, tilt="shear", uneven="resample")
    axes = volume.affine.numpy()[:3, :3]
    directions = axes / np.linalg.norm(axes, axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    inverse = np.linalg.inv(volume.affine.numpy())
    for file in sorted(folder.iterdir())[5:25:6]:
        dicom = pydicom.dcmread(file)
        rows, columns = np.meshgrid(np.arange(100, 400, 10), np.arange(100, 400, 10), indexing="ij")
        along = np.asarray(dicom.ImageOrientationPatient, dtype=float).reshape(2, 3)
        places = np.asarray(dicom.ImagePositionPatient, dtype=float) + (
            columns[..., None] * dicom.PixelSpacing[1] * along[0] + rows[..., None] * dicom.PixelSpacing[0] * along[1]
        )
        voxels = places * [-1, -1, 1] @ inverse[:3, :3].T + inverse[:3, 3]
        shown = _sample(volume[0].as_tensor(), torch.from_numpy(voxels).float())
        own = dicom.pixel_array[rows, columns].astype(float)
        assert np.corrcoef(shown.numpy().ravel(), own.ravel())[0, 1] > 0.97


def _sample(volume: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    size = torch.tensor(volume.shape)
    grid = (2 * voxels / (size - 1) - 1).flip(-1)[None, None]
    return torch.nn.functional.grid_sample(volume[None, None], grid, align_corners=True)[0, 0, 0]
