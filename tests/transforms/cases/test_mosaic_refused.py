"""Pictures that hold the slices of a volume, of which the file does not say how: refused by the element's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from fedmed_transforms import load_image
from tests.transforms.cases.mosaic_files import PLANES, save, siemens, united_imaging


def without(dicom: Dataset, *tags: int) -> Dataset:
    for tag in tags:
        del dicom[tag]
    return dicom


def deidentified(dicom: Dataset) -> Dataset:
    dicom.remove_private_tags()
    return dicom


def changed(dicom: Dataset, tag: int, value: Any) -> Dataset:
    dicom[tag].value = value
    return dicom


REFUSED: dict[str, tuple[Callable[[], Dataset], str]] = {
    "Siemens, de-identified": (
        lambda: deidentified(siemens()),
        r"a mosaic of slices without NumberOfImagesInMosaic in \(0019,xx0A\) and in the CSA image header \(0029,xx10\)",
    ),
    "Siemens, of unknown order": (
        lambda: without(siemens(), 0x00291010),
        r"5 slices of unknown order, without a SliceNormalVector in the CSA image header \(0029,xx10\): de-identif",
    ),
    "Siemens, header without the normal": (lambda: siemens(normal=False), "of unknown order, without a SliceNormal"),
    "Siemens, damaged header": (
        lambda: changed(siemens(), 0x00291010, b"SV10" + bytes(range(60))),
        r"a mosaic with a damaged CSA image header \(0029,xx10\), CSAReadError",
    ),
    "Siemens, cut header": (
        lambda: changed(siemens(), 0x00291010, siemens()[0x00291010].value[:150]),
        r"a mosaic with a damaged CSA image header",
    ),
    "Siemens, two numbers": (
        lambda: changed(siemens(), 0x0019100A, 6),
        r"two values of NumberOfImagesInMosaic, in \(0019,xx0A\) and in the CSA image header",
    ),
    "Siemens, another normal": (
        lambda: siemens(ImageOrientationPatient=PLANES["coronal"]),
        "a SliceNormalVector in .* that is not the normal of its ImageOrientationPatient",
    ),
    "Siemens, without a position": (
        lambda: without(siemens(), 0x00200032, 0x00200037),
        "a mosaic of 5 slices without ImagePositionPatient, ImageOrientationPatient",
    ),
    "Siemens, another grid": (
        lambda: changed(changed(siemens(), 0x0019100A, 5), 0x00280010, 35),
        "a picture of 35x33 pixels, expected a grid of 3x3 tiles of 5 slices",
    ),
    "United Imaging, de-identified": (
        lambda: deidentified(united_imaging()),
        r"a whole volume \(ImageType VFRAME\) without MR Number Of Slice In Volume \(0065,xx50\)",
    ),
    "United Imaging, without positions": (
        lambda: without(united_imaging(), 0x00651051),
        r"a picture of 5 slices \(ImageType VFRAME\) without MR VFrame Sequence \(0065,xx51\)",
    ),
    "United Imaging, too few positions": (
        lambda: changed(united_imaging(), 0x00651051, united_imaging()[0x00651051].value[:4]),
        r"a picture of 5 slices \(ImageType VFRAME\), but 4 items in MR VFrame Sequence",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_picture_of_unknown_slices_is_refused_by_name(tmp_path: Path, case: str) -> None:
    make, said = REFUSED[case]
    with pytest.raises(ValueError, match=rf"f\.dcm: expected a readable image plane, found .*{said}"):
        load_image(save(make(), tmp_path / "f.dcm"))


def test_an_enhanced_image_of_one_folded_frame_is_refused(tmp_path: Path) -> None:
    """A navigator of an XA scanner: MOSAIC is in a private element of the frame, the number of slices nowhere."""
    dicom = deidentified(siemens(ImageType=["ORIGINAL", "PRIMARY", "M", "NONE"]))
    dicom.SOPClassUID, dicom.NumberOfFrames = EnhancedMRImageStorage, 1
    inner, frame = Dataset(), Dataset()
    inner.private_block(0x21, "SIEMENS MR SDI 02", create=True).add_new(0x75, "CS", ["M", "ND", "MOSAIC"])
    frame.private_block(0x21, "SIEMENS MR SDI 02", create=True).add_new(0xFE, "SQ", [inner])
    dicom.PerFrameFunctionalGroupsSequence = [frame]
    with pytest.raises(ValueError, match="a mosaic of slices without NumberOfImagesInMosaic"):
        load_image(save(dicom, tmp_path / "f.dcm"))


def test_pictures_of_several_grids_are_no_series(tmp_path: Path) -> None:
    for count in (5, 10):
        save(siemens(count=count, SOPInstanceUID=f"1.2.3.{count}"), tmp_path / f"{count}.dcm")
    with pytest.raises(ValueError, match=r"same Rows, found 12 in a grid of 48 in .*10\.dcm slice \d+, 12 in a grid"):
        load_image(tmp_path)
