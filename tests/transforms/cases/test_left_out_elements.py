"""Elements that writers leave out or write in another way: SimpleITK's values, or those that the texts state."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import UID, ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from fedmed_transforms import load_image, read_segmentation, write_segmentation
from tests.transforms.cases.written_dicom import FULL, SYNTAXES, case, colours, compressed, loaded, write


def test_public_colours_without_planar_configuration() -> None:
    for name, colour in (("noplanar", [200, 40, 220]), ("us_noplanar_jpeg", [199, 40, 0])):  # SimpleITK
        assert loaded(case(f"colour_without_planar_configuration/{name}.dcm"))[0, 0].tolist() == colour


@pytest.mark.parametrize("syntax", [RLELossless, JPEGBaseline8Bit])
def test_compressed_colours_without_planar_configuration(tmp_path: Path, syntax: UID) -> None:
    options: dict[str, Any] = {"rows": 4, "columns": 6, "number_of_frames": 1, "samples_per_pixel": 3}
    options.update(bits_allocated=8, bits_stored=8, pixel_representation=0, planar_configuration=0)
    encoded = RLELosslessEncoder.encode(FULL.tobytes(), photometric_interpretation="RGB", **options)
    if syntax == JPEGBaseline8Bit:
        encoded = bytes(imagecodecs.jpeg8_encode(FULL, level=100, colorspace="RGB", outcolorspace="RGB"))
    path = write(tmp_path / "f.dcm", encapsulate([encoded]), syntax, **colours(PlanarConfiguration=None))
    assert abs(loaded(path) - FULL).max() <= 2 * (syntax == JPEGBaseline8Bit)


def test_native_colours_without_planar_configuration(tmp_path: Path) -> None:
    path = write(tmp_path / "f.dcm", FULL.tobytes(), **colours(PlanarConfiguration=None))
    np.testing.assert_array_equal(loaded(path), FULL)
    path = write(tmp_path / "f.dcm", FULL.tobytes(), **colours(PlanarConfiguration=2))
    with pytest.raises(ValueError, match=r"f\.dcm: the frame does not decode"):
        load_image(path)


def test_one_sample_without_photometric_interpretation_is_grey(tmp_path: Path) -> None:
    absent: dict[str, Any] = {"PhotometricInterpretation": None}
    np.testing.assert_array_equal(loaded(write(tmp_path / "f.dcm", FULL[..., 0].tobytes(), **absent)), FULL[..., 0])
    for syntax in SYNTAXES:
        path = write(tmp_path / "f.dcm", encapsulate([compressed(syntax, FULL[..., 0])]), syntax, **absent)
        assert abs(loaded(path) - FULL[..., 0]).max() <= 8 * (syntax == JPEGBaseline8Bit)
    path = write(tmp_path / "f.dcm", FULL.tobytes(), **{**colours(), **absent})
    with pytest.raises(ValueError, match="expected a PhotometricInterpretation of"):
        load_image(path)
    with pytest.raises(ValueError, match="expected a PhotometricInterpretation of"):  # a palette says another thing
        load_image(write(tmp_path / "f.dcm", bytes(24), RedPaletteColorLookupTableDescriptor=[256, 0, 16], **absent))
    if "FEDMED_DATA" in os.environ:
        image = load_image(case("photometric_missing/nopi.dcm"))
        assert (float(image.min()), float(image.max())) == (1, 471)
        with pytest.raises(ValueError, match=re.escape("mono.dcm: ")):  # SimpleITK turns it, dcm2niix does not
            load_image(case("photometric_missing/mono.dcm"))


def test_a_decimal_comma_is_a_point(tmp_path: Path, save_dicom: Callable[..., Path], letter: Any) -> None:
    if "FEDMED_DATA" in os.environ:
        image = load_image(case("decimal_comma/commads.dcm"))
        np.testing.assert_allclose(image.pixdim.numpy()[:2], [0.7, 0.5])
    path = save_dicom(tmp_path / "f.dcm", letter, PixelSpacing=[5.25, 7.25], RescaleSlope="0.50", RescaleIntercept="1",
                      SliceThickness="2.00", StudyInstanceUID="1.2", FrameOfReferenceUID="1.3")  # fmt: skip
    expected = load_image(path)
    for implicit in (False, True):
        content = path.read_bytes()
        for text in (b"5.25\\7.25", b"0.50", b"2.00"):
            assert content.count(text) == 1
            content = content.replace(text, text.replace(b".", b","))
        (tmp_path / "comma.dcm").write_bytes(content)
        found = load_image(tmp_path / "comma.dcm")
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found.affine, expected.affine)
        write_segmentation(found > 0, tmp_path / "comma.dcm", tmp_path / "seg.dcm", ["letter"])
        mask, affine, _ = read_segmentation(tmp_path / "seg.dcm")
        assert mask.sum() == (expected > 0).sum()
        np.testing.assert_allclose(affine[:3, :2], expected.affine[:3, :2])
        dicom = pydicom.dcmread(path)
        dicom.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dicom.save_as(path, implicit_vr=True, little_endian=True)
        assert implicit or pydicom.dcmread(path).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


@pytest.mark.parametrize("text", [b"5,2,\\7.25", b"5.2,\\7.25", b"5,25;7,25", b"A,25\\7.25"])
def test_other_commas_are_refused(tmp_path: Path, save_dicom: Callable[..., Path], letter: Any, text: bytes) -> None:
    path = save_dicom(tmp_path / "f.dcm", letter, PixelSpacing=[5.25, 7.25])
    path.write_bytes(path.read_bytes().replace(b"5.25\\7.25", text))
    with pytest.raises(ValueError, match=r"f\.dcm: expected a DICOM file, found .*PixelSpacing"):
        load_image(path)


@pytest.mark.parametrize("cosines", [[0.71, 0.71, 0, -0.71, 0.71, 0], [0.84, 0.54, 0, 0, 0, -1.0]])
def test_cosines_of_two_decimals_get_unit_length(
    tmp_path: Path, save_dicom: Callable[..., Path], letter: Any, cosines: list[float]
) -> None:
    """SimpleITK makes the length of 0.71, 0.71 one, too: 45 degrees."""
    if "FEDMED_DATA" in os.environ:
        affine = load_image(case("cosines_two_decimals/iop2.dcm")).affine.numpy()[:3, :2] / [0.7, 0.5]
        np.testing.assert_allclose(affine, np.array([[-1, 1], [-1, -1], [0, 0]]) * 0.5**0.5, atol=1e-6)
    image = load_image(save_dicom(tmp_path / "f.dcm", letter, ImageOrientationPatient=cosines))
    directions = np.array(cosines).reshape(2, 3)
    unit = directions / np.linalg.norm(directions, axis=1)[:, None]
    np.testing.assert_allclose(image.affine.numpy()[:3, :2], (unit * [-1, -1, 1]).T, atol=1e-9)


@pytest.mark.parametrize("cosines", [[0.72, 0.72, 0, -0.71, 0.71, 0], [1, 0.01, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]])
def test_cosines_of_another_length_or_angle_are_refused(
    tmp_path: Path, save_dicom: Callable[..., Path], letter: Any, cosines: list[float]
) -> None:
    path = save_dicom(tmp_path / "f.dcm", letter, ImageOrientationPatient=cosines)
    with pytest.raises(ValueError, match=r"f\.dcm: .*ImageOrientationPatient .*two perpendicular unit vectors"):
        load_image(path)
