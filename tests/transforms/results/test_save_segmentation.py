"""Predicted masks as files: DICOM of DICOM, NIfTI of NIfTI, on the grid of the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Orientation
from nibabel.orientations import axcodes2ornt, ornt_transform

from fedmed_transforms import LoadMedicalImaged
from fedmed_transforms.dicom.segmentation import read_segmentation
from fedmed_transforms.results.nifti_mask import write_mask
from fedmed_transforms.results.save_segmentation import SaveSegmentationd


def predicted(path: Path, channels: int = 1) -> MetaTensor:
    """A mask of a loaded image with the voxel (1, 2, ...) marked in the first channel, as a network's output has it."""
    image = LoadMedicalImaged("image")({"image": str(path)})["image"]
    mask = torch.zeros(channels, *image.shape[1:])
    mask[0][tuple(min(index, size - 1) for index, size in zip((1, 2, 3), image.shape[1:], strict=False))] = 1
    return MetaTensor(mask, meta=dict(image.meta))


def volume(path: Path, codes: str = "RAS") -> Path:
    """(5, 6, 7) voxels, oblique, stored in another order of axes."""
    affine = np.diag([2.0, 1.5, 3.0, 1.0])
    affine[:3, :3] = [[1.6, -0.9, 0], [1.2, 1.2, 0], [0, 0, 3.0]]
    affine[:3, 3] = 10, -20, 30
    image = nib.Nifti1Image(np.arange(210, dtype=np.int16).reshape(5, 6, 7), affine)
    nib.save(image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))), path)
    return path


def place(image: Any) -> Any:
    """RAS of the only marked voxel."""
    (voxel,) = np.argwhere(np.asanyarray(image.dataobj) > 0)
    return image.affine @ [*voxel[:3], 1]


def test_a_series_gets_a_dicom_segmentation(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series = save_series(tmp_path / "patient.1", "oblique")
    mask = predicted(series)
    data = {"pred": mask, "label": 3}
    saved = SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])(data)
    assert saved["pred"] is mask and saved["label"] == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["patient.1_seg.dcm"]
    read, affine, labels = read_segmentation(tmp_path / "out" / "patient.1_seg.dcm")
    found = np.asarray(affine) @ [*torch.nonzero(read[0])[0].tolist(), 1.0]
    np.testing.assert_allclose(found, np.asarray(mask.affine) @ [1, 2, 3, 1.0], atol=1e-3)
    assert labels == ["lesion"]


def test_segments_and_algorithm_from_a_configuration(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    parser = ConfigParser({
        "save": {
            "_target_": "fedmed_transforms.results.save_segmentation.SaveSegmentationd",
            "keys": "pred",
            "output_dir": str(tmp_path / "out"),
            "segments": ["organ", {"label": "liver", "kind": ["10200004", "SCT", "Liver"]}],
            "algorithm": {"name": "unet", "version": "3"},
        }
    })  # fmt: skip
    file = save_series(tmp_path / "series") / "b.dcm"
    parser.get_parsed_content("save")({"pred": predicted(file, 2)})
    dicom = pydicom.dcmread(tmp_path / "out" / "b_seg.dcm")
    assert dicom.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    assert dicom.SegmentSequence[0].SegmentAlgorithmName == "unet"


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPR", "AIL"])
@pytest.mark.parametrize("mask_codes", [None, "RAS", "PSL"])
def test_a_nifti_gets_a_nifti_on_its_grid(tmp_path: Path, codes: str, mask_codes: str | None) -> None:
    source = volume(tmp_path / "scan.v2.nii.gz", codes)
    mask = predicted(source)
    expected = np.asarray(mask.affine) @ [1, 2, 3, 1.0]
    mask = mask if mask_codes is None else Orientation(axcodes=mask_codes, labels=None)(mask)
    SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])({"pred": mask})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan.v2_seg.nii.gz"]
    written, image = nib.load(tmp_path / "out" / "scan.v2_seg.nii.gz"), nib.load(source)
    assert written.shape == image.shape and written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-5)
    np.testing.assert_allclose(place(written), expected, atol=1e-4)
    np.testing.assert_array_equal(np.argwhere(np.asanyarray(written.dataobj)), [[1, 2, 3]])


def test_several_channels_stay_apart(tmp_path: Path) -> None:
    mask = predicted(volume(tmp_path / "scan.nii"), 3)
    mask[2, 1, 2, 3] = mask[2, 0, 0, 0] = 1
    written = nib.load(write_mask(mask, tmp_path / "scan.nii", tmp_path / "mask.nii.gz", 3))
    assert written.shape == (5, 6, 7, 3)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask.permute(1, 2, 3, 0))


def test_a_flat_nifti(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((5, 6), dtype=np.float32), np.diag([2.0, 2.0, 1.0, 1.0])), tmp_path / "flat.nii")
    SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])({"pred": predicted(tmp_path / "flat.nii")})
    written = nib.load(tmp_path / "out" / "flat_seg.nii.gz").get_fdata()
    assert written.shape == (5, 6, 1)
    np.testing.assert_array_equal(np.argwhere(written), [[1, 2, 0]])


def test_a_mask_of_another_grid_is_refused(tmp_path: Path) -> None:
    mask = predicted(volume(tmp_path / "scan.nii"))
    save = SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])
    with pytest.raises(ValueError, match=r"scan\.nii: mask of 4 x 6 x 7 voxels at 2 x 1.5 x 3 mm: expected"):
        save({"pred": mask[:, 1:]})
    with pytest.raises(ValueError, match=r"scan\.nii: expected a mask of 0 and 1"):
        save({"pred": mask * 0.5})
    assert not (tmp_path / "out").exists()


def test_a_write_that_fails_at_its_end_leaves_nothing(tmp_path: Path) -> None:
    """The file's name is taken by a folder."""
    mask = predicted(volume(tmp_path / "scan.nii"))
    (tmp_path / "out" / "scan_seg.nii.gz" / "kept").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"scan\.nii: its result .* can.t be written"):
        SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])({"pred": mask})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scan_seg.nii.gz"]


def test_results_that_would_overwrite_each_other_are_refused(tmp_path: Path) -> None:
    save = SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])
    for site in ("a", "b"):
        (tmp_path / site).mkdir()
        volume(tmp_path / site / "scan.nii")
    save({"pred": predicted(tmp_path / "a" / "scan.nii")})
    save({"pred": predicted(tmp_path / "a" / "scan.nii")})
    with pytest.raises(ValueError, match=r"b/scan\.nii: its result .*a/scan\.nii, expected another name"):
        save({"pred": predicted(tmp_path / "b" / "scan.nii")})


@pytest.mark.parametrize("mask", [torch.zeros(1, 5, 6, 7), MetaTensor(torch.zeros(1, 5, 6, 7))])
def test_a_mask_of_no_image_is_refused(tmp_path: Path, mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="pred: expected a MetaTensor whose meta names an image's file, found None"):
        SaveSegmentationd("pred", str(tmp_path), ["lesion"])({"pred": mask})
