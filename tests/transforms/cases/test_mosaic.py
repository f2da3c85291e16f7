"""Pictures that hold the slices of a volume in a grid: unfolded to the volume in its place, or refused by name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset
from pydicom.pixels import compress
from pydicom.uid import EnhancedMRImageStorage, JPEG2000Lossless, RLELossless

from fedmed_transforms import load_image
from tests.transforms.cases.mosaic_files import (
    PLANES,
    STEP,
    check_places,
    csa_header,
    save,
    siemens,
    united_imaging,
)

KINDS = {"siemens": siemens, "united imaging": united_imaging}


def check_like_dcm2niix(image: Any, path: Path, folder: Path) -> None:
    """The volume of dcm2niix has the same voxels in the same places; its axes may run the other way."""
    program = shutil.which("dcm2niix")
    if program is None:
        return
    folder.mkdir()
    command = [program, "-s", "y", "-b", "n", "-z", "n", "-f", "volume", "-o", str(folder), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    found = nib.load(folder / "volume.nii")
    voxels = np.stack(np.meshgrid(*(np.arange(side) for side in image.shape[1:]), indexing="ij"), axis=-1)
    matrix = np.linalg.inv(found.affine) @ image.affine.numpy()
    other = voxels @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs(other - np.rint(other)).max() < 1e-3 and (other > -0.5).all()
    x, y, z = np.moveaxis(np.rint(other).astype(int), 3, 0)
    np.testing.assert_array_equal(np.asarray(found.dataobj)[x, y, z], np.asarray(image)[0])


@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder")
def test_a_mosaic_of_a_scanner(tmp_path: Path) -> None:
    folder = Path(os.environ["FEDMED_DATA"]) / "cases" / "siemens_mosaic_one_volume"
    image = load_image(folder)
    assert image.shape == (1, 72, 72, 5) and float(image.double().sum()) == 5127811
    np.testing.assert_allclose(image.affine, [[-3, 0, 0, 108], [0, -3, 0, 108], [0, 0, 12, 16], [0, 0, 0, 1]])
    (file,) = folder.iterdir()
    check_like_dcm2niix(image, file, tmp_path / "nifti")
    dicom = pydicom.dcmread(file)
    compress(dicom, JPEG2000Lossless, generate_instance_uid=False)
    compressed = load_image(save(dicom, tmp_path / "f.dcm"))
    assert torch.equal(compressed.as_tensor(), image.as_tensor()) and torch.equal(compressed.affine, image.affine)


def test_a_header_that_nibabel_ships(tmp_path: Path) -> None:
    """Of another scanner, 48 slices slightly oblique; the picture is cut to a grid of tiles, as it was made smaller."""
    dicom = pydicom.dcmread(Path(nib.__file__).parent / "tests" / "data" / "0.dcm")
    dicom.set_pixel_data(dicom.pixel_array[:252, :252].copy(), "MONOCHROME2", 12, generate_instance_uid=False)
    path = save(dicom, tmp_path / "f.dcm")
    image = load_image(path)
    assert image.shape == (1, 36, 36, 48)
    check_like_dcm2niix(image, path, tmp_path / "nifti")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("sign", [1, -1])
def test_every_slice_lies_where_the_scanner_took_it(tmp_path: Path, kind: str, plane: str, sign: int) -> None:
    path = save(KINDS[kind](plane, sign=sign), tmp_path / "f.dcm")
    image = load_image(path)
    assert image.shape == (1, 11, 12, 5)
    check_places(image)
    assert image.affine[:3, 2].norm() == pytest.approx(STEP, abs=1e-5)
    check_like_dcm2niix(image, path, tmp_path / "nifti")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 4, 7, 9, 10])
def test_the_grid_follows_from_the_number_of_slices(tmp_path: Path, kind: str, count: int) -> None:
    image = load_image(save(KINDS[kind](count=count), tmp_path / "f.dcm"))
    assert image.shape == (1, 11, 12, count)
    check_places(image)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_compressed_pictures_are_the_same(tmp_path: Path, kind: str, syntax: str) -> None:
    dicom = KINDS[kind]("oblique", 7)
    compress(dicom, syntax, generate_instance_uid=False)
    check_places(load_image(save(dicom, tmp_path / "f.dcm")))


def test_the_number_of_slices_is_stated_once(tmp_path: Path) -> None:
    only_csa, only_element = siemens(), siemens()
    del only_csa[0x0019100A]
    tags = {"SliceNormalVector": ("FD", ["0.0", "0.0", "1.0"])}
    only_element[0x00291010].value = csa_header(tags)
    for dicom in (only_csa, only_element):
        check_places(load_image(save(dicom, tmp_path / "f.dcm")))


def test_the_distance_may_be_in_the_private_header(tmp_path: Path) -> None:
    dicom = siemens()
    del dicom.SpacingBetweenSlices
    header = dicom[0x00291010].value
    with pytest.raises(ValueError, match="a mosaic of 5 slices without SpacingBetweenSlices"):
        load_image(save(dicom, tmp_path / "f.dcm"))
    tags = {"SliceNormalVector": ("FD", ["0.0", "0.0", "1.0"]), "SpacingBetweenSlices": ("FD", [f"{STEP}"])}
    dicom[0x00291010].value = csa_header(tags)
    assert header != dicom[0x00291010].value
    check_places(load_image(save(dicom, tmp_path / "f.dcm")))


def test_a_mosaic_is_known_by_its_private_element_too(tmp_path: Path) -> None:
    for dicom in (siemens(), united_imaging()):
        dicom.ImageType = ["DERIVED", "SECONDARY"]
        check_places(load_image(save(dicom, tmp_path / "f.dcm")))


def test_a_sequence_of_unknown_representation_is_read(tmp_path: Path) -> None:
    """Archives rewrite private elements as UN; the items of a sequence are then implicit little endian."""
    dicom = united_imaging("oblique")
    items = dicom[0x00651051].value
    content_of_items = pydicom.filebase.DicomBytesIO()
    content_of_items.is_little_endian, content_of_items.is_implicit_VR = True, True
    pydicom.filewriter.write_sequence(content_of_items, pydicom.DataElement(0x00651051, "SQ", items), ["iso8859"])
    del dicom[0x00651051], dicom[0x00651050]
    dicom.add_new(0x00651050, "UN", b"5 ")
    dicom.add_new(0x00651051, "UN", content_of_items.getvalue())
    check_places(load_image(save(dicom, tmp_path / "f.dcm")))


def enhanced(**elements: Any) -> Dataset:
    """An enhanced image of five frames, as a Siemens XA scanner stores the slices of a mosaic; ImageType keeps MOSAIC.
    """
    dicom = siemens()
    dicom.remove_private_tags()
    pixels = dicom.pixel_array.reshape(3, 12, 3, 11).swapaxes(1, 2).reshape(9, 12, 11)[:5]
    dicom.SOPClassUID, dicom.NumberOfFrames, dicom.Rows, dicom.Columns = EnhancedMRImageStorage, 5, 12, 11
    dicom.PixelData = pixels.tobytes()
    del dicom.ImagePositionPatient
    frames = [Dataset() for _ in range(5)]
    for number, frame in enumerate(frames):
        place = Dataset()
        place.ImagePositionPatient = [10.0, -20.0, 30.0 + number * STEP]
        frame.PlanePositionSequence = [place]
    dicom.PerFrameFunctionalGroupsSequence = frames
    return dicom


def test_the_frames_of_an_enhanced_image_are_slices_already(tmp_path: Path) -> None:
    check_places(load_image(save(enhanced(), tmp_path / "f.dcm")))


def test_other_images_of_these_scanners_stay_as_they_are(tmp_path: Path) -> None:
    dicom = siemens(ImageType=["ORIGINAL", "PRIMARY", "M", "ND"])
    dicom.remove_private_tags()
    assert load_image(save(dicom, tmp_path / "f.dcm")).shape == (1, 33, 36, 1)
    dicom.private_block(0x19, "GEMS_ACQU_01", create=True).add_new(0x0A, "US", 5)
    assert load_image(save(dicom, tmp_path / "f.dcm")).shape == (1, 33, 36, 1)


def test_a_series_of_mosaics_is_of_several_volumes(tmp_path: Path) -> None:
    """Each file is a volume at the same positions."""
    for number in (1, 2):
        dicom = siemens(InstanceNumber=number, SOPInstanceUID=f"1.2.3.4.{number}")
        save(dicom, tmp_path / f"{number}.dcm")
    with pytest.raises(ValueError, match=r"1\.dcm slice 1, .*2\.dcm slice 1"):
        load_image(tmp_path)
    check_places(load_image(tmp_path, series={"InstanceNumber": "2"}))
