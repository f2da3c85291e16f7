"""Files of several frames: where each of them lies, and what its values mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import compress
from pydicom.uid import EnhancedCTImageStorage, RLELossless

from fedmed_transforms import load_image, write_segmentation

HEIGHTS = (6.0, 0.0, 2.0, 4.0)
"""Where the frames lie, in the order of the file."""


def item(**elements: Any) -> list[Dataset]:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return [dataset]


@pytest.fixture
def enhanced(tmp_path: Path, save_dicom: Callable[..., Path]) -> Callable[..., Path]:
    """Writes an enhanced CT: ``enhanced(heights, **elements)``; frame k holds k + 1, its slope is k + 1 as well."""

    def write(heights: Sequence[float] = HEIGHTS, **elements: Any) -> Path:
        frames = []
        for number, height in enumerate(heights, start=1):
            (frame,) = item(
                PlanePositionSequence=item(ImagePositionPatient=[10.0, 20.0, height]),
                PixelValueTransformationSequence=item(RescaleSlope=number, RescaleIntercept=-1),
            )
            frames.append(frame)
        shared = item(
            PlaneOrientationSequence=item(ImageOrientationPatient=[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
            PixelMeasuresSequence=item(PixelSpacing=[0.5, 0.25], SliceThickness=2.0),
        )
        pixels = np.full((20, 12), 1, dtype=np.uint16)
        stack = np.stack([pixels * number for number in range(1, len(heights) + 1)])
        path = save_dicom(tmp_path / "enhanced.dcm", pixels, SOPClassUID=EnhancedCTImageStorage)
        dicom = pydicom.dcmread(path)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            del dicom[keyword]
        dicom.NumberOfFrames, dicom.PixelData = len(heights), stack.tobytes()
        dicom.PerFrameFunctionalGroupsSequence, dicom.SharedFunctionalGroupsSequence = frames, shared
        for keyword, value in elements.items():
            setattr(dicom, keyword, value)
        dicom.save_as(path)
        return path

    return write


def test_each_frame_has_its_own_place_and_scale(enhanced: Callable[..., Path]) -> None:
    """Rows run along +y and columns along +x (LPS): the normal points down, so the highest frame comes first."""
    image = load_image(enhanced())
    assert image.shape == (1, 12, 20, 4)
    assert [float(image[0, 0, 0, index]) for index in range(4)] == [0, 15, 8, 3]  # frame k: (k + 1)^2 - 1
    expected = np.array([[0, -0.5, 0, -10], [-0.25, 0, 0, -20], [0, 0, -2, 6], [0, 0, 0, 1]])
    np.testing.assert_allclose(image.affine, expected, atol=1e-9)


def test_compressed_frames_are_the_same(enhanced: Callable[..., Path]) -> None:
    path = enhanced()
    expected = load_image(path)
    dicom = pydicom.dcmread(path)
    compress(dicom, RLELossless)
    dicom.save_as(path)
    assert torch.equal(load_image(path).as_tensor(), expected.as_tensor())


def test_a_missing_frame_is_refused(enhanced: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"enhanced\.dcm frame 1.*1 slices may be missing.*uneven='resample'"):
        load_image(enhanced((8.0, 0.0, 2.0, 4.0)))


def test_frames_without_groups_are_refused(enhanced: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="3 frames, but functional groups for 4"):
        load_image(enhanced(NumberOfFrames=3))


def test_too_few_pixels_are_refused(enhanced: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"enhanced\.dcm: expected 1920 bytes of pixels, found 1440"):
        load_image(enhanced(PixelData=bytes(1440)))


def test_a_dose_grid_lies_at_its_offsets() -> None:
    path = str(get_testdata_file("rtdose.dcm", download=False))
    dose, header = load_image(path), pydicom.dcmread(path)
    assert dose.shape == (1, 10, 10, 15)
    first = np.asarray(header.ImagePositionPatient, dtype=float)
    last = first + [0, 0, float(header.GridFrameOffsetVector[-1])]
    for index, place in ((0, first), (14, last)):
        np.testing.assert_allclose(dose.affine @ torch.tensor([0.0, 0, index, 1]).double(), [*(place * [-1, -1, 1]), 1])
    np.testing.assert_allclose(dose[0, 3, 4, 7], header.pixel_array[7, 4, 3] * float(header.DoseGridScaling), rtol=1e-6)


def test_a_cine_has_no_place_unless_one_is_assumed() -> None:
    path = str(get_testdata_file("SC_rgb_rle_2frame.dcm", download=False))
    with pytest.raises(ValueError, match="no orientation in 2 of 2 images.*; nothing states that they are slices"):
        load_image(path)
    image = load_image(path, assume_spacing=(1.0, 1.0, 5.0))
    assert image.shape == (3, 100, 100, 2) and float(image.max()) == 1
    assert float(image.affine[2, 2]) == 5


def test_a_segmentation_is_loaded_where_its_source_lies(tmp_path: Path, save_series: Callable[..., Path]) -> None:
    folder = save_series(tmp_path / "series")
    source = load_image(folder)
    mask = MetaTensor(torch.zeros((2, *source.shape[1:])), affine=source.affine)
    mask[0, 3, 4, 1], mask[1, 5, 6, 2] = 1, 1
    loaded = load_image(write_segmentation(mask, folder, tmp_path / "seg.dcm", ["liver", "lesion"]))
    assert len(loaded) == 2 and loaded.dtype == torch.float32 and int(loaded.sum()) == 2
    for channel in range(2):
        (found,), (expected,) = loaded[channel].as_tensor().nonzero(), mask[channel].as_tensor().nonzero()
        places = [
            image.affine[:3, :3] @ voxel.double() + image.affine[:3, 3]
            for image, voxel in ((loaded, found), (source, expected))
        ]
        torch.testing.assert_close(*places, atol=1e-4, rtol=0)
