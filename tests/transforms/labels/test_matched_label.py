"""Labels on their image's grid: turned to it, or refused with the files and what was found."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from pydicom.uid import SegmentationStorage

from fedmed_transforms import MatchedLabeld, SegmentationToLabelsd, load_image
from fedmed_transforms.preprocessing.slice_checks import corners_apart

SHAPE = (6, 5, 4)
AFFINE = np.array([[2.0, 0, 0, -7], [0, 1.5, 0, 3], [0, 0, 5, 11], [0, 0, 0, 1]])


def volume(path: Path, affine: np.ndarray = AFFINE, values: np.ndarray | None = None) -> MetaTensor:
    values = np.zeros(SHAPE, np.float32) if values is None else values
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    loaded: MetaTensor = load_image(path)
    return loaded


def matched(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = MatchedLabeld("label", "image")({"image": image, "label": label})["label"]
    return result


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASR", "ILP"])
def test_a_label_with_other_axes_is_turned_to_its_image(tmp_path: Path, codes: str) -> None:
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    image = volume(tmp_path / "image.nii", values=values)
    upright = nibabel.load(tmp_path / "image.nii")
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(upright.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(upright.as_reoriented(turn), tmp_path / "label.nii")
    label = matched(image, load_image(tmp_path / "label.nii"))
    assert torch.equal(label.as_tensor(), image.as_tensor())
    torch.testing.assert_close(label.affine, image.affine, atol=1e-9, rtol=0)


def test_a_small_difference_of_spacing_is_far_at_the_corner(tmp_path: Path) -> None:
    other = AFFINE.copy()
    other[0, 0] += 0.03  # less than the tolerance in the affine, five times as much at the last voxel
    image, label = volume(tmp_path / "image.nii"), volume(tmp_path / "label.nii", other)
    assert corners_apart(image, label) == pytest.approx(0.15, abs=1e-5)
    with pytest.raises(ValueError, match=r"image\.nii and .*label\.nii: found corners 0\.15.* mm apart"):
        matched(image, label)


def test_a_jpg_is_no_label() -> None:
    image = MetaTensor(torch.zeros(1, 6, 5), meta={"filename_or_obj": "a.png"})
    with pytest.raises(ValueError, match="b.JPG: found a label in a lossy format, expected png, NIfTI or DICOM"):
        matched(image, MetaTensor(torch.zeros(1, 6, 5), meta={"filename_or_obj": "b.JPG"}))


@pytest.mark.parametrize("channels", [2, 4])
def test_an_image_of_other_channels_is_refused(channels: int) -> None:
    image = MetaTensor(torch.zeros(channels, 6, 5, 4), meta={"filename_or_obj": "a.nii"})
    with pytest.raises(ValueError, match=f"a.nii: found {channels} channels, expected 1 or 3"):
        matched(image, MetaTensor(torch.zeros(1, 6, 5, 4)))


def test_a_segmentation_of_another_frame_of_reference_is_refused() -> None:
    """Two patients' scans of one protocol may lie on one grid."""
    image = MetaTensor(
        torch.zeros(1, 6, 5, 4), meta={"filename_or_obj": "series", "dicom": {"FrameOfReferenceUID": "1.2.3"}}
    )
    elements = {"FrameOfReferenceUID": "1.2.4", "SOPClassUID": SegmentationStorage}
    segments = MetaTensor(torch.ones(1, 6, 5, 4), meta={"filename_or_obj": "seg.dcm", "dicom": elements})
    with pytest.raises(ValueError, match="seg.dcm and series: found two frames of reference"):
        SegmentationToLabelsd("label", "image")({"image": image, "label": segments})
    elements["FrameOfReferenceUID"] = "1.2.3"
    label = SegmentationToLabelsd("label", "image")({"image": image, "label": segments})["label"]
    assert bool((label == 1).all())
