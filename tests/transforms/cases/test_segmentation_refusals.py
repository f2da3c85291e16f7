"""Files that are no segmentations of slices, or contradict themselves, are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fedmed_transforms import load_image, read_segmentation
from tests.transforms.cases.segmentations import drawn, source_images, write_segments
from tests.transforms.cases.structure_sets import write_ct


def tiles(dicom: pydicom.Dataset) -> None:
    dicom.TotalPixelMatrixColumns, dicom.TotalPixelMatrixRows = 800, 720


def tiled_full(dicom: pydicom.Dataset) -> None:
    dicom.DimensionOrganizationType = "TILED_FULL"


def unknown_segment(dicom: pydicom.Dataset) -> None:
    dicom.SegmentSequence = dicom.SegmentSequence[:2]


def twice_a_number(dicom: pydicom.Dataset) -> None:
    dicom.SegmentSequence[2].SegmentNumber = 1


def another_type(dicom: pydicom.Dataset) -> None:
    dicom.SegmentationType = "SURFACE"


def padding_is_a_segment(dicom: pydicom.Dataset) -> None:
    dicom.PixelPaddingValue = 2


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (tiles, r"whole slide \(TotalPixelMatrixColumns, TotalPixelMatrixRows\), whose frames are tiles and no slices"),
        (tiled_full, r"whole slide \(TILED_FULL\)"),
        (unknown_segment, "found the pixel value 2, expected the numbers of described segments"),
        (twice_a_number, "3 segments with 2 different SegmentNumbers"),
        (padding_is_a_segment, "found a PixelPaddingValue of 2, which is the number of a segment"),
        (another_type, "found the SegmentationType SURFACE"),
    ],
)
def test_what_is_no_segmentation_of_slices_is_refused(
    tmp_path: Path, damage: Callable[[pydicom.Dataset], None], said: str
) -> None:
    series, pixels = write_ct(tmp_path / "ct"), (drawn((1, 2)) * (1, 2)).sum(axis=-1).astype(np.uint8)
    path = write_segments(tmp_path / "seg.dcm", source_images(series), pixels, "LABELMAP", (1, 2))
    dicom = pydicom.dcmread(path)
    damage(dicom)
    dicom.save_as(path)
    for read in (load_image, read_segmentation):
        with pytest.raises(ValueError, match=rf"seg\.dcm: .*{said}"):
            read(path)


def test_masks_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    series, pixels = write_ct(tmp_path / "ct"), drawn((1,))[..., 0]
    path = write_segments(tmp_path / "seg.dcm", source_images(series), pixels, "LABELMAP", (1,))
    dicom = pydicom.dcmread(path)
    far = dicom.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    far.ImagePositionPatient = [-60, -45, 20 + 3 * 90_000]
    last = dicom.SegmentSequence[1]
    dicom.SegmentSequence = [dicom.SegmentSequence[0], *(number_copy(last, number) for number in range(1, 50))]
    dicom.save_as(path)
    with pytest.raises(ValueError, match=r"seg\.dcm: expected masks of at most 8589934592 bytes, found 49 segments on"):
        load_image(path)


def number_copy(segment: pydicom.Dataset, number: int) -> pydicom.Dataset:
    copy = segment[:]
    copy.SegmentNumber = number
    return copy
