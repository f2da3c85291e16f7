"""MetaImage files have SimpleITK's values and affine, or are refused by the entry that is missing or not meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import LoadImage

from fedmed_transforms import load_image
from tests.transforms.cases.simple_itk import TYPES, check, oblique

VALUES = np.arange(24, dtype="<i2").reshape(4, 3, 2)
BASE = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\n"
MATRIX = "TransformMatrix = 0 1 0 1 0 0 0 0 -1\n"
SPACED = "ElementSpacing = 1 2 3\n"
PLACED = f"{MATRIX}Offset = 1 2 3\n{SPACED}"
LOCAL = "ElementDataFile = LOCAL\n"


def write(path: Path, header: str, content: bytes = VALUES.tobytes()) -> Path:
    path.write_bytes(header.encode() + content)
    return path


@pytest.mark.parametrize("ending", ["mha", "mhd"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", TYPES)
def test_files_by_simple_itk(tmp_path: Path, kind: str, packed: bool, ending: str) -> None:
    sitk.WriteImage(oblique(kind), str(tmp_path / f"v.{ending}"), packed)
    check(tmp_path / f"v.{ending}")


@pytest.mark.parametrize("components", [2, 3, 4, 6])
@pytest.mark.parametrize("kind", ["int16", "float32"])
def test_components_are_channels(tmp_path: Path, components: int, kind: str) -> None:
    sitk.WriteImage(oblique(kind, components), str(tmp_path / "v.mha"))
    assert len(check(tmp_path / "v.mha")) == components


def test_a_fourth_axis_is_channels(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(360, dtype=np.int16).reshape(3, 4, 5, 6), isVector=False)
    image.SetSpacing((0.5, 0.7, 2, 9))
    sitk.WriteImage(image, str(tmp_path / "v.mha"))
    assert check(tmp_path / "v.mha").shape == (3, 6, 5, 4)


def test_colours_have_a_full_scale_and_no_transparency(tmp_path: Path) -> None:
    sitk.WriteImage(oblique("uint8", 3), str(tmp_path / "v.mha"))
    assert check(tmp_path / "v.mha").meta["full_scale"] == 255
    colours = np.full((4, 5, 6, 4), 255, dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "v.mha"))
    assert load_image(tmp_path / "v.mha").shape == (3, 6, 5, 4)
    colours[0, 0, 0, 3] = 254
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "v.mha"))
    with pytest.raises(ValueError, match="v.mha: .*found transparent pixels"):
        load_image(tmp_path / "v.mha")


@pytest.mark.parametrize(
    ("header", "content"),
    [
        (f"{BASE}{PLACED}{LOCAL}", VALUES.tobytes()),
        (f"{BASE}{PLACED}ElementByteOrderMSB = True\n{LOCAL}", VALUES.astype(">i2").tobytes()),
        (f"{BASE}{PLACED}BinaryDataByteOrderMSB = True\n{LOCAL}", VALUES.astype(">i2").tobytes()),
        (f"{BASE}{PLACED}BinaryData = False\n{LOCAL}", (" ".join(map(str, VALUES.ravel())) + "\n").encode()),
        (f"{BASE}{MATRIX.replace('TransformMatrix', 'Orientation')}Position = 1 2 3\n{SPACED}{LOCAL}",
         VALUES.tobytes()),
        (f"{BASE}{MATRIX.replace('TransformMatrix', 'Rotation')}Origin = 1 2 3\nElementSize = 1 2 3\n{LOCAL}",
         VALUES.tobytes()),
        (f"{BASE}{PLACED}{LOCAL}".replace("\n", "\r\n"), VALUES.tobytes()),
        (f"{BASE}{PLACED}DistanceUnits = mm\n{LOCAL}", VALUES.tobytes()),
        (f"{BASE}{PLACED}{LOCAL}", VALUES.tobytes() + b"\n"),
    ],
)  # fmt: skip
def test_every_form_of_a_header(tmp_path: Path, header: str, content: bytes) -> None:
    check(write(tmp_path / "v.mha", header, content))


@pytest.mark.parametrize("size", ["10", "-1"])
def test_bytes_before_the_voxels(tmp_path: Path, size: str) -> None:
    (tmp_path / "v.raw").write_bytes(b"x" * 10 + VALUES.tobytes())
    check(write(tmp_path / "v.mhd", f"{BASE}{PLACED}HeaderSize = {size}\nElementDataFile = v.raw\n", b""))


def test_a_flat_file_is_a_picture(tmp_path: Path) -> None:
    header = "NDims = 2\nDimSize = 2 3\nElementType = MET_UCHAR\nElementSpacing = 0.1 0.2\n"
    image = check(write(tmp_path / "v.mha", f"{header}{LOCAL}", bytes(range(6))))
    assert image.shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("stated", "unstated", "spacing"),
    [
        ("", "TransformMatrix, Offset, ElementSpacing", [5, 6, 7]),
        ("ElementSpacing = 1 2 3\n", "TransformMatrix, Offset", [1, 2, 3]),
        (f"{MATRIX}Offset = 1 2 3\n", "ElementSpacing", [5, 6, 7]),
        (f"{MATRIX}ElementSpacing = 1 2 3\n", "Offset", [1, 2, 3]),
    ],
)
def test_no_geometry_is_invented_and_the_advice_loads_it(
    tmp_path: Path, stated: str, unstated: str, spacing: Any
) -> None:
    file = write(tmp_path / "v.mha", f"{BASE}{stated}{LOCAL}")
    with pytest.raises(ValueError, match=rf"v.mha: .*no {unstated}, expected .* rule assume_spacing=\[x, y, z\]"):
        load_image(file)
    image = load_image(file, assume_spacing=[5, 6, 7])
    np.testing.assert_array_equal(np.asarray(image)[0], VALUES.T)
    np.testing.assert_allclose(image.pixdim.tolist(), spacing)
    turned = np.asarray(image.affine)[1, 0] != 0
    assert turned == (MATRIX in stated)


@pytest.mark.parametrize(
    ("header", "content", "reason"),
    [
        (f"{BASE}{PLACED}{LOCAL}", VALUES.tobytes()[:-2], "46 bytes of voxels, expected 48"),
        (f"{BASE}{PLACED}{LOCAL}", VALUES.tobytes() + b"1234", "52 bytes of voxels, expected 48"),
        (f"{BASE}{PLACED}CompressedData = True\n{LOCAL}", b"not zlib" * 9, ""),
        (f"{BASE}{PLACED}DistanceUnits = um\n{LOCAL}", None, "DistanceUnits other than mm"),
        (f"{BASE}{PLACED}ElementToIntensityFunctionSlope = 2\n{LOCAL}", None, "an ElementToIntensityFunction"),
        (f"{BASE}{PLACED}{LOCAL}".replace("Spacing = 1", "Spacing = -1"), None, "ElementSpacing .*expected .* above 0"),
        (f"{BASE}{PLACED}{LOCAL}".replace("Spacing = 1", "Spacing = nan"), None, "ElementSpacing that are not finite"),
        (f"{BASE}{PLACED}{LOCAL}".replace("0 1 0 1", "0 1 0 0"), None, ""),
        (f"{BASE}{PLACED}{LOCAL}".replace("1 0 0 0 0 -1", "1 0 0"), None, "6 numbers of TransformMatrix, expected 9"),
        (f"{BASE}{PLACED}{LOCAL}".replace("2 3 4", "2 3 0"), None, r"DimSize \(2.0, 3.0, 0.0\), expected whole"),
        (f"{BASE}{PLACED}{LOCAL}".replace("2 3 4", "9999 9999 9999"), None, "48 bytes of voxels, expected"),
        (f"{BASE}{PLACED}{LOCAL}".replace("MET_SHORT", "MET_LONG"), None, "an ElementType that is not read"),
        (f"{BASE}{PLACED}ElementDataFile = /etc/hostname\n", None, "a file outside of the header's folder"),
        (f"{BASE}{PLACED}ElementDataFile = ../v.raw\n", None, "a file outside of the header's folder"),
        (f"{BASE}{PLACED}ElementDataFile = gone.raw\n", None, "no file of the voxels"),
        (f"{BASE}{PLACED}ElementDataFile = LIST\n", None, "voxels in several files, expected one"),
        (f"{BASE}{PLACED}ElementDataFile = v%03d.raw 1 4 1\n", None, "voxels in several files, expected one"),
        (f"{BASE}{PLACED}", b"", "a header without ElementDataFile"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_meant_are_refused(tmp_path: Path, header: str, content: Any, reason: str) -> None:
    file = write(tmp_path / "v.mha", header, VALUES.tobytes() if content is None else content)
    found = f"^{re.escape(str(file))}: expected a readable MetaImage file, found .*{reason}"
    with pytest.raises(ValueError, match=found):
        load_image(file)


def test_the_reader_for_monai_refuses_alike(tmp_path: Path) -> None:
    file = write(tmp_path / "v.mha", f"{BASE}{LOCAL}")
    with pytest.raises(ValueError, match="v.mha: .*no TransformMatrix"):
        LoadImage("fedmed_transforms.MetaImageReader", image_only=True)(file)
    ruled = LoadImage("fedmed_transforms.MetaImageReader", image_only=True, assume_spacing=[1, 1, 2])
    assert ruled(file).pixdim.tolist() == [1, 1, 2]
