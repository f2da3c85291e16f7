"""DICOM files without a preamble, and a folder that holds one slice."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
import torch
from pydicom.filewriter import dcmwrite, write_file_meta_info

from fedmed_transforms import find_studies, load_image, write_segmentation
from fedmed_transforms.dicom.headers.file_start import START, is_dicom_content
from fedmed_transforms.loading.find import find_images, list_images
from fedmed_transforms.patients.identifiers import find_identifiers
from tests.transforms.cases.written_dicom import case

Save = Callable[..., Path]

FORMS = ("implicit", "explicit", "big endian", "meta information")


def without_preamble(path: Path, form: str) -> bytes:
    """The data set of a file alone, in a form, or after its meta information."""
    dicom = pydicom.dcmread(path)
    meta, dicom.file_meta, dicom.preamble = dicom.file_meta, pydicom.dataset.FileMetaDataset(), None
    buffer = io.BytesIO()
    if form == "meta information":
        write_file_meta_info(buffer, meta)
    if form == "big endian":
        dicom.PixelData = np.frombuffer(dicom.PixelData, "<u2").astype(">u2").tobytes()
    dcmwrite(buffer, dicom, implicit_vr=form == "implicit", little_endian=form != "big endian")
    assert buffer.getvalue()[128:132] != b"DICM"
    return buffer.getvalue()


def test_public_case() -> None:
    for path in (case("no_preamble/nopreamble"), case("no_preamble")):
        image = load_image(path)
        assert (float(image.min()), float(image.max())) == (1, 471)


@pytest.mark.parametrize("form", FORMS)
def test_a_series_without_preamble_is_found_everywhere(tmp_path: Path, save_series: Save, form: str) -> None:
    expected = load_image(save_series(tmp_path / "series"))
    (tmp_path / "bare" / "series").mkdir(parents=True)
    for number, file in enumerate(sorted((tmp_path / "series").iterdir())):
        (tmp_path / "bare" / "series" / f"IM{number}").write_bytes(without_preamble(file, form))
    folder = tmp_path / "bare" / "series"
    archive = Path(shutil.make_archive(str(tmp_path / "bare"), "zip", folder))
    for path in (folder, archive):
        image = load_image(path)
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(image.affine, expected.affine)
    assert load_image(folder / "IM0").shape == (1, 6, 9, 1)
    assert list_images(tmp_path / "bare") == [folder] and len(find_images(str(folder))) == 1
    (item,) = find_studies(str(folder))
    assert len(item["image"]) == 5
    assert {found.element for found in find_identifiers(folder)} >= {"PatientName"}
    mask = torch.zeros(1, 6, 9, 5)
    assert write_segmentation(mask, folder, tmp_path / "seg.dcm", ["x"], affine=image.affine).is_file()


def test_other_files_are_no_dicom(tmp_path: Path) -> None:
    """Files that begin with the bytes of group 0008 or 0002, but not with two known elements in order."""
    one = struct.pack("<HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100"
    for content in (
        b"", b"\x08\0", b"\x08\0\x05\0", one, one + one, one + struct.pack("<HH2sH", 8, 8, b"DS", 2) + b"1 ",
        struct.pack("<HHL", 8, 5, 10) + b"ISO_IR 100" + struct.pack("<HHL", 9, 8, 2) + b"AB",
        struct.pack("<HHL", 8, 3, 10) + b"ISO_IR 100" + struct.pack("<HHL", 8, 8, 2) + b"AB",
        struct.pack("<HHL", 8, 5, 2**31), bytes(range(256)) * 2, b"\x02\0\0\0" * 128, b"\0\x02\0\0" * 128,
    ):  # fmt: skip
        assert not is_dicom_content(content[:START]), content[:30]
    two = one + struct.pack("<HH2sH", 8, 8, b"CS", 2) + b"AB"
    assert is_dicom_content(two)


def test_shipped_files_are_recognised_as_before() -> None:
    root = Path(pydicom.data.__file__).parent / "test_files"
    bare = set()
    for path in root.rglob("*"):
        start = path.read_bytes()[:START] if path.is_file() else b""
        if is_dicom_content(start) and start[128:132] != b"DICM":
            bare.add(path.name)
    assert bare == {"ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "rtstruct.dcm"}


def test_a_folder_of_one_slice_is_a_slice(tmp_path: Path, save_dicom: Save, letter: Any) -> None:
    """1 mm thick where the file states no thickness, as the file itself and as SimpleITK."""
    (tmp_path / "series").mkdir()
    file = save_dicom(tmp_path / "series" / "1.dcm", letter, PixelSpacing=[2.0, 1.5])
    images = [load_image(path) for path in (file, tmp_path / "series", [file])]
    for image in images:
        assert image.shape == (1, 12, 20, 1)
        np.testing.assert_array_equal(image.affine, np.diag([-1.5, -2, 1, 1]))
    save_dicom(tmp_path / "series" / "1.dcm", letter, SliceThickness=4)
    assert load_image(tmp_path / "series").pixdim.tolist() == [1, 1, 4]
