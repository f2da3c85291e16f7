"""Tests that every way of loading refuses the same files, and that a rule changes only the case it names."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage, LoadImaged, Orientationd, Spacingd
from pydicom.data import get_testdata_file
from pydicom.pixels import compress
from pydicom.uid import JPEGLSLossless, RLELossless

from fedmed_transforms import LoadMedicalImaged, SaveSegmentationd, SeriesRules, Window, load_image, read_segmentation
from fedmed_transforms.patients.identifiers import find_identifiers

Save = Callable[..., Path]


@pytest.fixture
def series(tmp_path: Path, save_dicom: Save, letter: Any) -> Callable[..., Path]:
    """Writes axial slices at these heights: ``series(heights, **elements)``."""

    def write(heights: list[float], **elements: Any) -> Path:
        (tmp_path / "series").mkdir(exist_ok=True)
        for number, height in enumerate(heights, start=1):
            pixels = letter.astype(np.uint16) + number
            save_dicom(tmp_path / "series" / f"{number}.dcm", pixels, number=number, position=height, **elements)
        return tmp_path / "series"

    return write


def change(file: Path, **elements: Any) -> None:
    dicom = pydicom.dcmread(file)
    for keyword, value in elements.items():
        if value is None:
            delattr(dicom, keyword)
        else:
            setattr(dicom, keyword, value)
    dicom.save_as(file)


def test_no_other_reader_of_monai_takes_what_is_refused(tmp_path: Path, series: Callable[..., Path]) -> None:
    folder = series([0, 3, 6, 12])
    with pytest.raises(ValueError, match="slices may be missing"):
        LoadImaged("image", reader="fedmed_transforms.DicomReader")({"image": folder})
    assert LoadImage(reader="fedmed_transforms.DicomReader", uneven="resample")(folder).shape == (1, 12, 20, 5)
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), dtype=np.complex64), np.eye(4)), tmp_path / "v.nii.gz")
    with pytest.raises(ValueError, match="complex64"):
        LoadImage(reader="fedmed_transforms.NiftiReader")(tmp_path / "v.nii.gz")


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_one_slice_goes_through_monais_spatial_transforms(
    tmp_path: Path, save_dicom: Save, letter: Any, plane: str
) -> None:
    file = save_dicom(tmp_path / "f.dcm", letter, plane=plane, PixelSpacing=[2.0, 1.5], SliceThickness=3)
    image = LoadMedicalImaged("image")({"image": file})
    assert image["image"].shape == (1, 12, 20, 1) and [round(float(side), 6) for side in image["image"].pixdim] == [
        1.5,
        2,
        3,
    ]
    spaced = Spacingd("image", pixdim=(1.0, 1.0, 3.0))(image)["image"]
    assert spaced.shape == (1, 18, 39, 1)
    turned = Orientationd("image", axcodes="RAS", labels=None)(image)["image"]
    assert sorted(turned.shape) == [1, 1, 12, 20] and float(turned.sum()) == float(image["image"].sum())


def test_a_result_refers_to_the_slices_that_were_used(
    tmp_path: Path, series: Callable[..., Path], save_dicom: Save
) -> None:
    folder = series([0, 3, 6], StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4", SliceThickness=3)
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "StudyInstanceUID": "1.2.3"}
    save_dicom(folder / "scout.dcm", np.zeros((7, 9), dtype=np.uint16), number=9, **scout)
    image = load_image(folder, localisers="drop")
    mask = MetaTensor(torch.zeros_like(image.as_tensor()), meta=dict(image.meta))
    mask[0, 3, 4, 2] = 1
    SaveSegmentationd("pred", str(tmp_path / "out"), ["lesion"])({"pred": mask})
    (file,) = (tmp_path / "out").iterdir()
    found, affine, _ = read_segmentation(file)
    assert int(found.sum()) == 1
    np.testing.assert_allclose(affine[:3, 3], image.affine[:3, 3] + 2 * image.affine[:3, 2], atol=1e-6)


def test_spacing_is_assumed_only_where_no_file_says_it(series: Callable[..., Path]) -> None:
    folder = series([0, 3, 6], SpacingBetweenSlices=3)
    change(folder / "2.dcm", ImagePositionPatient=None)
    with pytest.raises(ValueError, match=r"2\.dcm: found no position in 1 of 3 images; the others say it"):
        load_image(folder, assume_spacing=[9, 9, 9])
    for number in (1, 3):
        change(folder / f"{number}.dcm", ImagePositionPatient=None)
    np.testing.assert_allclose(load_image(folder, assume_spacing=[9, 9, 9]).affine, np.diag([-1, -1, 3, 1]))


@pytest.mark.parametrize("scale", [0.01, 0.03, 0.05, 1.0, 40.0])
def test_a_missing_slice_is_seen_at_every_scale(series: Callable[..., Path], scale: float) -> None:
    heights = [scale * number for number in range(20) if number != 10]
    with pytest.raises(ValueError, match="1 slices may be missing"):
        load_image(series(heights, PixelSpacing=[scale, scale]))


def test_positions_rounded_to_three_decimals_are_even(series: Callable[..., Path]) -> None:
    heights = [round(number * 0.625 / 3, 3) for number in range(30)]
    assert load_image(series(heights, PixelSpacing=[0.2, 0.2])).shape[3] == 30


def test_several_frames_of_reference_are_no_volume(series: Callable[..., Path]) -> None:
    folder = series([0, 3, 6], FrameOfReferenceUID="1.2.3")
    change(folder / "2.dcm", FrameOfReferenceUID="1.2.4")
    with pytest.raises(ValueError, match=r"same FrameOfReferenceUID, found one in .*\d\.dcm, another in .*\d\.dcm;"):
        load_image(folder)
    assert load_image(folder, series={"FrameOfReferenceUID": r"1\.2\.3"}).shape[3] == 2


def test_colours_among_grey_slices_are_named(series: Callable[..., Path], save_dicom: Save) -> None:
    folder = series([0, 3])
    save_dicom(folder / "3.dcm", np.zeros((20, 12, 3), dtype=np.uint8), number=3, position=6)
    with pytest.raises(ValueError, match=r"expected colours or grey, found colours in .*3\.dcm, grey in"):
        load_image(folder)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless])
@pytest.mark.parametrize(("representation", "padding"), [("US", 63536), ("SS", -2000)])
def test_padding_is_found_however_it_is_stated(
    tmp_path: Path, save_dicom: Save, letter: Any, syntax: Any, representation: str, padding: int
) -> None:
    pixels = letter.astype(np.int16) - 50
    pixels[:, 0] = -2000
    path = save_dicom(tmp_path / "f.dcm", pixels.view(np.uint16), PixelRepresentation=1, BitsStored=12, HighBit=11)
    dicom = pydicom.dcmread(path)
    dicom.add_new("PixelPaddingValue", representation, padding)
    if syntax:
        compress(dicom, syntax, generate_instance_uid=False)
    dicom.save_as(path)
    assert float(load_image(path).min()) == -50 and float(load_image(path, padding="keep").min()) == -2000


def test_the_window_of_a_file_is_of_its_function(series: Callable[..., Path]) -> None:
    elements = {"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "SIGMOID"}
    with pytest.raises(ValueError, match="found SIGMOID"):
        Window("from_file")(load_image(series([0, 3], **elements)))


def test_a_device_that_is_not_there_is_no_fault_of_the_file() -> None:
    path = get_testdata_file("CT_small.dcm", download=False)
    with pytest.raises(ValueError, match="^device cuda:99: expected a device of this machine"):
        load_image(str(path), device="cuda:99")


@pytest.mark.parametrize("path", ["", None, [], "x" * 5000])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ValueError, match="expected (the path of an image|a path that can be read)"):
        load_image(path)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"series": 3}, "series: expected a SeriesInstanceUID, 'largest' or a mapping, found 3"),
        ({"series": {"EchoTim": "5"}}, "series: expected keywords of DICOM elements, found 'EchoTim'"),
        ({"series": {"EchoTime": "("}}, r"series: EchoTime: expected a regular expression, found '\('"),
        ({"series": {"EchoTime": 5}}, "series: EchoTime: expected a regular expression, found 5"),
        ({"assume_spacing": 1}, "assume_spacing: expected millimetres"),
    ],
)
def test_rules_that_say_nothing_are_refused(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SeriesRules.of(rules)


def test_what_accompanies_images_in_a_zip_is_looked_at_too(tmp_path: Path, series: Callable[..., Path]) -> None:
    folder = series([0], PatientIdentityRemoved="YES")
    change(folder / "1.dcm", PatientBirthDate="19700101")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("DICOMDIR", ".hidden.dcm"):
            archive.write(folder / "1.dcm", name)
    assert [(finding.element, finding.files) for finding in find_identifiers(tmp_path / "a.zip")] == [
        ("PatientBirthDate", 2)
    ]
