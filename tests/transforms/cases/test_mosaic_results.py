"""A result of an unfolded picture: a segmentation in the place of its slices, and NIfTI beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.dataset import Dataset

from fedmed_transforms import SegmentationToLabelsd, load_image, read_segmentation, write_report
from fedmed_workflows import SegmentationFiles
from tests.dicom_validator import errors_in
from tests.transforms.cases.mosaic_files import save, siemens, united_imaging

WRITERS: dict[str, Callable[..., Dataset]] = {"siemens": siemens, "united imaging": united_imaging}


def masks_of(image: MetaTensor) -> MetaTensor:
    """A box in two slices, and nothing else."""
    mask = MetaTensor(torch.zeros_like(image.as_tensor()), meta=dict(image.meta))
    mask[0, 2:5, 3:9, 1:3] = 1
    return mask


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_clinic_writes_both_results(tmp_path: Path, kind: str, sign: int) -> None:
    path = save(WRITERS[kind]("oblique", sign=sign), tmp_path / "f.dcm")
    image = load_image(path)
    files = SegmentationFiles(str(tmp_path / "out"), ["lesion"])
    item = {"masks": masks_of(image)}
    outputs = files.outputs(item, tmp_path / "out" / "f")
    files.write(item, outputs)
    assert [output.name for output in outputs] == ["f_seg.dcm", "f_seg.nii.gz"]
    volume = nib.load(outputs[1])
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-4)
    loaded = {"image": image, "label": load_image(outputs[0])}
    label = SegmentationToLabelsd("label", image_key="image")(loaded)["label"]
    assert torch.equal(label.as_tensor(), masks_of(image).as_tensor())
    assert int(read_segmentation(outputs[0])[0].sum()) == 3 * 6 * 2


def test_the_segmentation_refers_to_the_picture_as_a_whole(tmp_path: Path) -> None:
    """The picture is an image of one frame: it has no frame of which a number could be given."""
    path = save(siemens(), tmp_path / "f.dcm")
    files = SegmentationFiles(str(tmp_path), ["lesion"])
    files.write({"masks": masks_of(load_image(path))}, [tmp_path / "s.dcm", tmp_path / "s.nii.gz"])
    source, result = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "s.dcm")
    assert (result.Rows, result.Columns, result.NumberOfFrames) == (12, 11, 2)
    for frame in result.PerFrameFunctionalGroupsSequence:
        (reference,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPClassUID == source.SOPClassUID and "ReferencedFrameNumber" not in reference
        assert reference.SpatialLocationsPreserved == "NO"
    assert result.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPClassUID == source.SOPClassUID
    assert errors_in(tmp_path / "s.dcm", "Segmentation") == []


def test_a_report_refers_to_the_picture(tmp_path: Path) -> None:
    path = save(siemens(), tmp_path / "f.dcm")
    report = write_report({"lesion": 0.25, "healthy": 0.75}, path, tmp_path / "report.dcm")
    assert errors_in(report, "EnhancedSR") == []
