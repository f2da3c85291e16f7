"""Tests the sources of a segmentation: multi-frame images, pictures without a position, and refused images."""

from __future__ import annotations

import traceback
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
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from fedmed_transforms.dicom.segmentation import read_segmentation
from fedmed_transforms.results.segmentation_object import Segment, write_segmentation

LPS_AFFINE = np.array([[0, 0, 4.0, 10], [2.0, 0, 0, 20], [0, -1.5, 0, 30], [0, 0, 0, 1]])
"""Of a sagittal volume (column, row, slice)."""


def item(**elements: Any) -> list[Dataset]:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return [dataset]


def multi_frame(save_dicom: Callable[..., Path], path: Path, shared: bool, slices: tuple[int, ...]) -> Path:
    """An enhanced MR image of 9 rows, 6 columns, and the slices in the order given."""
    groups = item(
        PixelMeasuresSequence=item(PixelSpacing=[1.5, 2.0], SliceThickness=4.0),
        PlaneOrientationSequence=item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
    )
    frames = []
    for number in slices:
        frame = Dataset() if shared else groups[0][:]
        frame.PlanePositionSequence = item(ImagePositionPatient=[10 + 4.0 * number, 20, 30])
        frame.FrameContentSequence = item(StackID="1", InStackPositionNumber=number + 1)
        frames.append(frame)
    save_dicom(
        path, np.zeros((9, 6), dtype=np.uint16), SOPClassUID=EnhancedMRImageStorage, StudyInstanceUID="1.2.3",
        FrameOfReferenceUID="1.2.4", SharedFunctionalGroupsSequence=groups if shared else item(),
        PerFrameFunctionalGroupsSequence=frames, NumberOfFrames=len(slices),
        PixelData=bytes(9 * 6 * 2 * len(slices)),
    )  # fmt: skip
    dicom = pydicom.dcmread(path)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del dicom[keyword]
    dicom.save_as(path)
    return path


@pytest.mark.parametrize("shared", [True, False])
def test_multi_frame_image(tmp_path: Path, save_dicom: Callable[..., Path], shared: bool) -> None:
    """Its frames are not in the order of the mask's slices."""
    source = multi_frame(save_dicom, tmp_path / "source.dcm", shared, slices=(2, 0, 3, 1))
    mask = torch.zeros(1, 6, 9, 4, dtype=torch.uint8)
    mask[0, 4, 7, 3] = 1
    affine = torch.from_numpy(np.diag([-1.0, -1.0, 1.0, 1.0]) @ LPS_AFFINE)
    path = write_segmentation(MetaTensor(mask, affine=affine), source, tmp_path / "seg.dcm", ["lesion"])
    dicom = pydicom.dcmread(path)
    (frame,) = dicom.PerFrameFunctionalGroupsSequence
    assert frame.PlanePositionSequence[0].ImagePositionPatient == [22, 20, 30]
    reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedFrameNumber == 3
    assert reference.ReferencedSOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID
    np.testing.assert_array_equal(np.argwhere(dicom.pixel_array), [[7, 4]])
    read, found, _ = read_segmentation(path)
    voxel = torch.nonzero(read[0])[0].tolist()
    np.testing.assert_allclose(np.asarray(found) @ [*voxel, 1.0], np.asarray(affine) @ [4.0, 7, 3, 1], atol=1e-4)


def test_two_slices_at_one_position_are_refused(tmp_path: Path, save_dicom: Callable[..., Path]) -> None:
    source = multi_frame(save_dicom, tmp_path / "source.dcm", True, slices=(0, 1, 1))
    mask = MetaTensor(torch.zeros(1, 6, 9, 3), affine=torch.from_numpy(np.diag([-1.0, -1, 1, 1]) @ LPS_AFFINE))
    with pytest.raises(ValueError, match=r"source\.dcm: .*several slices of the image"):
        write_segmentation(mask, source, tmp_path / "seg.dcm", ["lesion"])


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 3, 3, 1)])
def test_picture_without_a_position(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = shipped("SC_rgb_small_odd.dcm")
    mask = torch.zeros(shape)
    mask[0, 2, 1], mask[1, 0, 1], mask[1, 2, 1] = 1, 1, 1
    path = write_segmentation(mask, source, tmp_path / "seg.dcm", ["mole", "hair"])
    segmentation = hd.seg.segread(path)
    by_highdicom = segmentation.get_pixels_by_source_instance([pydicom.dcmread(source).SOPInstanceUID])
    np.testing.assert_array_equal(by_highdicom[0].transpose(2, 1, 0), mask.reshape(2, 3, 3))
    read, _, labels = read_segmentation(path)
    assert torch.equal(read[..., 0], mask.reshape(2, 3, 3) > 0) and labels == ["mole", "hair"]
    with pytest.raises(ValueError, match=r"SC_rgb_small_odd\.dcm: mask: expected .*\(3, 3, 1\).* found \(3, 4, 1\)"):
        write_segmentation(torch.zeros(1, 3, 4), source, tmp_path / "seg.dcm", ["mole"])


def shipped(name: str) -> str:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return str(path)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"StudyInstanceUID": ""}, "found no StudyInstanceUID"),
        ({"StudyDate": "in May, Doe^Jane"}, "expected a DICOM date or time as StudyDate"),
        ({"PatientSex": "Doe^Jane"}, "expected a header whose patient and study can be copied .* found ValueError"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value", "ignore:The value length")
def test_headers_that_cannot_be_copied_are_named_but_not_quoted(
    tmp_path: Path,
    save_series: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    elements: dict[str, str],
    said: str,
) -> None:
    series = save_series(tmp_path / "series", **elements)
    caplog.clear()
    affine = torch.diag(torch.tensor([-2.0, -1.5, 3.5, 1.0]))
    affine[:3, 3] = torch.tensor([31, -17.5, 40.25])
    with pytest.raises(ValueError, match=rf"a\.dcm: .*{said}") as error:
        write_segmentation(MetaTensor(torch.zeros(1, 6, 9, 5), affine=affine), series, tmp_path / "seg.dcm", ["lesion"])
    assert "Jane" not in "".join(traceback.format_exception(error.value))
    assert "Jane" not in caplog.text and not (tmp_path / "seg.dcm").exists()


def test_names_of_patients_are_not_in_warnings(
    tmp_path: Path, save_series: Callable[..., Path], recwarn: pytest.WarningsRecorder, caplog: Any
) -> None:
    series = save_series(tmp_path / "series", PatientName="Janedoe", StudyInstanceUID="1.2.Janedoe")
    recwarn.clear()
    caplog.clear()
    affine = torch.diag(torch.tensor([-2.0, -1.5, 3.5, 1.0]))
    affine[:3, 3] = torch.tensor([31, -17.5, 40.25])
    path = write_segmentation(torch.zeros(1, 6, 9, 5), series, tmp_path / "seg.dcm", ["lesion"], affine=affine)
    assert not [warning for warning in recwarn if "Janedoe" in str(warning.message)]
    assert "Janedoe" not in caplog.text and pydicom.dcmread(path).PatientName == "Janedoe"


@pytest.mark.parametrize(
    ("mask", "segments", "said"),
    [
        (torch.full((1, 3, 3), 2), ["mole"], "expected a mask of 0 and 1"),
        (torch.full((1, 3, 3), 0.5), ["mole"], "expected a mask of 0 and 1"),
        (torch.full((1, 3, 3), torch.nan), ["mole"], "expected a mask of 0 and 1"),
        (torch.full((1, 3, 3), -1), ["mole"], "expected a mask of 0 and 1"),
        (torch.zeros(2, 3, 3), ["mole"], r"a channel for each of 1 segments, found \(2, 3, 3\)"),
        (torch.zeros(3, 3), ["mole"], r"found \(3, 3\)"),
        (torch.zeros(2, 3, 3), ["mole", "mole"], "expected labels that differ"),
        (torch.zeros(1, 3, 3), ["m" * 65], "expected 1 to 64 printable characters"),
        (torch.zeros(1, 3, 3), [Segment("mole", kind=("1", "SCT", ""))], "code: expected"),
        (torch.zeros(1, 3, 3), [Segment("mole", kind="1")], "code: expected"),
    ],
)
def test_bad_masks_and_segments_are_refused(tmp_path: Path, mask: torch.Tensor, segments: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        write_segmentation(mask, shipped("SC_rgb_small_odd.dcm"), tmp_path / "out" / "seg.dcm", segments)
    assert not list(tmp_path.iterdir())


def test_bad_sources_are_named(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    series, other = save_series(tmp_path / "series"), save_series(tmp_path / "other")
    (tmp_path / "notes.dcm").write_text("no image at all")
    for sources, said in (
        ([series, other], r"series/a\.dcm: expected images of one series, found 2 values of SeriesInstanceUID"),
        (tmp_path / "notes.dcm", r"notes\.dcm: expected a DICOM image"),
        (tmp_path / "nowhere", "nowhere: no such file or folder"),
        (tmp_path, "expected a DICOM image"),
        ([], "found no image"),
    ):
        with pytest.raises(ValueError, match=said):
            write_segmentation(torch.zeros(1, 6, 9, 5), sources, tmp_path / "seg.dcm", ["lesion"])


def test_reading_what_is_no_segmentation_names_the_file() -> None:
    for name in ("CT_small.dcm", "rtplan.dcm"):
        with pytest.raises(ValueError, match=f"{name}: expected a binary DICOM segmentation"):
            read_segmentation(shipped(name))
