"""NRRD files have SimpleITK's values and affine, or are refused by the field that is missing or cannot be meant."""

from __future__ import annotations

import gzip
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
BASE = "type: short\ndimension: 3\nsizes: 2 3 4\n"
PLACED = "space directions: (1,0.1,0) (0,2,0) (0,0,3)\nspace origin: (10,20,30)\n"
LITTLE = "endian: little\nencoding: raw\n"
FOUR = "type: uchar\ndimension: 4\nspace: RAS\nspace origin: (1,2,3)\nencoding: raw\n"


def write(path: Path, header: str, content: bytes = VALUES.tobytes()) -> Path:
    path.write_bytes(f"NRRD0005\n{header}\n".encode() + content)
    return path


@pytest.mark.parametrize("ending", ["nrrd", "nhdr"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", TYPES)
def test_files_by_simple_itk(tmp_path: Path, kind: str, packed: bool, ending: str) -> None:
    sitk.WriteImage(oblique(kind), str(tmp_path / f"v.{ending}"), packed)
    check(tmp_path / f"v.{ending}")


@pytest.mark.parametrize("space", ["LPS", "RAS", "LAS", "left-posterior-superior", "right-anterior-superior"])
def test_every_space_with_a_direction_in_the_patient(tmp_path: Path, space: str) -> None:
    check(write(tmp_path / "v.nrrd", f"{BASE}space: {space}\n{PLACED}{LITTLE}"))


def test_the_space_is_that_of_the_patient(tmp_path: Path) -> None:
    """By hand: x of RAS points to the right, as in the affine."""
    image = load_image(write(tmp_path / "v.nrrd", f"{BASE}space: RAS\n{PLACED}{LITTLE}"))
    expected = [[1, 0, 0, 10], [0.1, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(np.asarray(image.affine), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("endian: big\nencoding: raw\n", VALUES.astype(">i2").tobytes()),
        ("endian: little\nencoding: gzip\n", gzip.compress(VALUES.tobytes())),
        ("encoding: ascii\n", (" ".join(map(str, VALUES.ravel())) + "\n").encode()),
        ("endian: little\nencoding: hex\n", VALUES.tobytes().hex().encode()),
    ],
    ids=["raw", "gzip", "ascii", "hex"],
)
@pytest.mark.parametrize("detached", [True, False])
def test_every_encoding(tmp_path: Path, encoding: str, content: bytes, detached: bool) -> None:
    header = f"{BASE}space: LPS\n{PLACED}{encoding}"
    if detached:
        (tmp_path / "v.raw").write_bytes(content)
        check(write(tmp_path / "v.nhdr", f"{header}data file: v.raw\n", b""))
    else:
        check(write(tmp_path / "v.nrrd", header, content))


@pytest.mark.parametrize("skip", ["10", "-1"])
def test_bytes_before_the_voxels(tmp_path: Path, skip: str) -> None:
    (tmp_path / "v.raw").write_bytes(b"x" * 10 + VALUES.tobytes())
    check(write(tmp_path / "v.nhdr", f"{BASE}space: LPS\n{PLACED}{LITTLE}byte skip: {skip}\ndata file: v.raw\n", b""))


@pytest.mark.parametrize(
    ("sizes", "directions", "kinds", "channels"),
    [
        ("2 3 4 2", "(1,0,0) (0,2,0) (0,0,3) none", "domain domain domain list", 2),
        ("2 2 3 4", "none (1,0,0) (0,2,0) (0,0,3)", "list domain domain domain", 2),
        ("2 2 3 4", "none (1,0,0) (0,2,0) (0,0,3)", "vector space space space", 2),
        ("2 2 3 4", "(1,0,0) none (0,2,0) (0,0,3)", "domain vector domain domain", 2),
        ("3 2 2 4", "none (1,0,0) (0,2,0) (0,0,3)", "RGB-color domain domain domain", 3),
    ],
)
def test_an_axis_of_channels(tmp_path: Path, sizes: str, directions: str, kinds: str, channels: int) -> None:
    header = f"{FOUR}sizes: {sizes}\nspace directions: {directions}\nkinds: {kinds}\n"
    image = check(write(tmp_path / "v.nrrd", header, bytes(range(48))))
    assert len(image) == channels and image.meta.get("full_scale") == (255 if "RGB" in kinds else None)


def test_a_flat_file_is_a_picture(tmp_path: Path) -> None:
    image = check(write(tmp_path / "v.nrrd", "type: uchar\ndimension: 2\nsizes: 2 3\nencoding: raw\n", bytes(6)))
    assert image.shape == (1, 2, 3)


UNSTATED = [
    (f"{BASE}{LITTLE}", "space directions, space origin, space", [5, 6, 7]),
    (f"{BASE}spacings: 1 2 3\n{LITTLE}", "space directions, space origin, space", [1, 2, 3]),
    (f"{BASE}spacings: nan nan nan\n{LITTLE}", "space directions, space origin, space", [5, 6, 7]),
    (f"{BASE}space: LPS\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n{LITTLE}", "space origin", [1, 2, 3]),
    (f"{BASE}space dimension: 3\n{PLACED}{LITTLE}", "space", [1.004988, 2, 3]),
    (f"{BASE}space: scanner-xyz\n{PLACED}{LITTLE}", "space", [1.004988, 2, 3]),
    (f"{BASE}space: 3D-right-handed\n{PLACED}{LITTLE}", "space", [1.004988, 2, 3]),
]


@pytest.mark.parametrize(("header", "unstated", "spacing"), UNSTATED)
def test_no_geometry_is_invented_and_the_advice_loads_it(
    tmp_path: Path, header: str, unstated: str, spacing: Any
) -> None:
    """By the rule a stated spacing counts, the axes are SimpleITK's."""
    file = write(tmp_path / "v.nrrd", header)
    with pytest.raises(ValueError, match=rf"v.nrrd: .*no {unstated}, expected .* rule assume_spacing=\[x, y, z\]"):
        load_image(file)
    image = load_image(file, assume_spacing=[5, 6, 7])
    np.testing.assert_array_equal(np.asarray(image)[0], VALUES.T)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0), spacing, rtol=1e-6)
    read = sitk.ReadImage(str(file))
    origin = np.array(read.GetOrigin()) * [-1, -1, 1]
    np.testing.assert_allclose(np.asarray(image.affine)[:3, 3], origin)
    direction = np.reshape(read.GetDirection(), (3, 3)) * [[-1], [-1], [1]] * spacing
    np.testing.assert_allclose(np.asarray(image.affine)[:3, :3], direction, atol=1e-6)


LPS = f"{BASE}space: LPS\n"


@pytest.mark.parametrize(
    ("header", "content", "reason"),
    [
        (f"{LPS}{PLACED}{LITTLE}", VALUES.tobytes()[:-2], "46 bytes of voxels, expected 48"),
        (f"{LPS}{PLACED}{LITTLE}", VALUES.tobytes() + b"1234", "52 bytes of voxels, expected 48"),
        (f"{LPS}{PLACED}encoding: raw\n", None, "no field `endian`"),
        (f"{LPS}{PLACED}endian: little\nencoding: bzip2\n", None, "an `encoding` that is not read"),
        (f'{LPS}space units: "um" "um" "um"\n{PLACED}{LITTLE}', None, "`space units` other than mm"),
        (f"{LPS}space directions: (nan,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n{LITTLE}", None, "not finite"),
        (f"{LPS}space directions: (1,0,0) (1,0,0) (0,0,1)\nspace origin: (0,0,0)\n{LITTLE}", None, "in one plane"),
        (f"{LPS}space directions: (1,0,0) (0,1,0)\nspace origin: (0,0,0)\n{LITTLE}", None, "2 space directions"),
        (f"{BASE}spacings: 1 0 2\n{LITTLE}", None, r"spacings \(1.0, 0.0, 2.0\), expected numbers above 0"),
        (f"{LPS}{PLACED}{LITTLE}".replace("2 3 4", "2 3 0"), None, r"sizes \(2.0, 3.0, 0.0\), expected whole numbers"),
        (f"{LPS}{PLACED}{LITTLE}".replace("2 3 4", "2 3"), None, r"sizes \(2, 3\), expected 2 to 4 axes"),
        (f"{LPS}{PLACED}{LITTLE}".replace("2 3 4", "99999 99999 99999"), None, "48 bytes of voxels, expected"),
        (f"{LPS}{PLACED}{LITTLE}".replace("short", "block"), None, "a `type` that is no integer or float"),
        (f"{LPS}{PLACED}{LITTLE}data file: ../v.raw\n", None, "a file outside of the header's folder"),
        (f"{LPS}{PLACED}{LITTLE}data file: /etc/hostname\n", None, "a file outside of the header's folder"),
        (f"{LPS}{PLACED}{LITTLE}data file: gone.raw\n", None, "no file of the voxels"),
        (f"{LPS}{PLACED}{LITTLE}data file: LIST\nv.raw\n", None, "voxels in several files, expected one"),
        (f"{LPS}{PLACED}{LITTLE}data file: v%03d.raw 1 4 1\n", None, "voxels in several files, expected one"),
        (f"{FOUR}sizes: 2 2 3 4\nspace directions: none (1,0,0) (0,2,0) (0,0,3)\n", None, "no `kinds`, expected"),
        (f"{FOUR}sizes: 2 2 3 4\nkinds: complex domain domain domain\n", None, "`kinds` that are not read"),
    ],
)
def test_headers_that_cannot_be_meant_are_refused(tmp_path: Path, header: str, content: Any, reason: str) -> None:
    file = write(tmp_path / "v.nrrd", header, VALUES.tobytes() if content is None else content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}: expected a readable NRRD file, found .*{reason}"):
        load_image(file)


def test_integers_that_float32_rounds_are_refused(tmp_path: Path) -> None:
    exact = np.full((2, 2, 2), 2**25, dtype=np.int32)
    for values in (exact, exact + 1):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "v.nrrd"))
        if values is exact:
            assert float(load_image(tmp_path / "v.nrrd").max()) == 2**25
    with pytest.raises(ValueError, match="v.nrrd: .*integers from 33554433 to 33554433, expected .* float32 holds"):
        load_image(tmp_path / "v.nrrd")


def test_the_reader_for_monai_refuses_alike(tmp_path: Path) -> None:
    file = write(tmp_path / "v.nrrd", f"{BASE}{LITTLE}")
    with pytest.raises(ValueError, match="v.nrrd: .*no space directions"):
        LoadImage("fedmed_transforms.NrrdReader", image_only=True)(file)
    ruled = LoadImage("fedmed_transforms.NrrdReader", image_only=True, assume_spacing=[1, 1, 2])
    assert ruled(file).pixdim.tolist() == [1, 1, 2]
