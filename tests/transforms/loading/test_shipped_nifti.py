"""NIfTI files of nibabel's own, and written by it in every form, bit by bit as nibabel reads them, or refused.

The reference is float32 of the float64 that nibabel's ``get_fdata`` gives, and its affine.
"""

from __future__ import annotations

import fnmatch
import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fedmed_transforms import load_image

ROOT = Path(nib.__file__).parent / "tests" / "data"
FILES = sorted(path.name for path in ROOT.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc"))

LOADS = (
    "anatomical.nii",
    "example4d.nii.gz",
    "example_nifti2.nii.gz",
    "functional.nii",
    "reoriented_anat_moved.nii",
    "sta*.gz",
)
NOT_FINITE = ("resampled_anat_moved.nii",)
DICOM = ("[01].dcm",)
UNKNOWN = "found neither a suffix nor content of these"
REFUSED = {
    ".gitignore": UNKNOWN,
    "*.[mv]": UNKNOWN,
    "*.PAR": UNKNOWN,
    "*.REC": UNKNOWN,
    "*.HEAD": UNKNOWN,
    "*.BRIK*": UNKNOWN,
    "*.mnc": UNKNOWN,
    "*.mgz": UNKNOWN,
    "*.t[cr]k": UNKNOWN,
    "README.rst": UNKNOWN,
    "analyze.hdr": "348 bytes that begin as no NIfTI-1 or NIfTI-2 header",
    "nifti[12].hdr": "No such file",  # nibabel ships the header alone
    "row_major.dconn.nii": "a CIFTI file",
}  # fmt: skip

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
TURNED = np.array([[0, -2, 0, 5], [1.5, 0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1.0]])


def matching(patterns: tuple[str, ...] | dict[str, str]) -> list[str]:
    return [name for name in FILES if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def check(path: Path, **rules: Any) -> None:
    """Equality, bit by bit, of values and affine with nibabel's; NaN are the rule's number."""
    image, expected = load_image(path, **rules), nib.load(path)
    values = np.nan_to_num(expected.get_fdata(), nan=rules.get("nan", np.nan))
    values = values.reshape(*values.shape[:3], *(1,) * (3 - values.ndim), -1)
    np.testing.assert_array_equal(np.asarray(image), values.transpose(3, 0, 1, 2).astype(np.float32))
    np.testing.assert_array_equal(np.asarray(image.affine), expected.affine)


def noise(shape: tuple[int, ...], kind: str = "i2") -> Any:
    """Values that fill a type's range."""
    random = np.random.default_rng(0)
    if kind[-2] == "f":
        return random.normal(scale=1e3, size=shape).astype(kind)
    limits = np.iinfo(np.dtype(kind))
    return random.integers(limits.min, limits.max, shape, dtype=np.dtype(kind).newbyteorder("="), endpoint=True)


def write(path: Path, values: Any, order: str = "<", version: int = 1, **fields: Any) -> Path:
    """A file by nibabel, with fields of its header set afterwards, as others may write them."""
    header = (nib.Nifti1Header if version == 1 else nib.Nifti2Header)(endianness=order)
    header.set_data_dtype(values.dtype)
    image = (nib.Nifti1Image if version == 1 else nib.Nifti2Image)(values, TURNED, header)
    content = bytearray(image.to_bytes())
    written = type(header)(bytes(content[: header.template_dtype.itemsize]))
    for name, value in fields.items():
        written[name] = value
    content[: header.template_dtype.itemsize] = written.binaryblock
    path.write_bytes(content)
    return path


def test_the_table_names_every_file_once() -> None:
    assert sorted(matching(LOADS) + matching(NOT_FINITE) + matching(DICOM) + matching(REFUSED)) == FILES
    assert all(fnmatch.filter(FILES, pattern) for pattern in (*LOADS, *NOT_FINITE, *DICOM, *REFUSED))


@pytest.mark.parametrize("name", matching(LOADS))
def test_shipped_files_load_exactly(name: str) -> None:
    check(ROOT / name)


@pytest.mark.parametrize("name", matching(NOT_FINITE))
def test_shipped_files_with_nan_load_exactly_by_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(name)}: .*no finite numbers.* the rule `nan` .* as nan=0"):
        load_image(ROOT / name)
    check(ROOT / name, nan=0)
    check(ROOT / name, nan=-1024.5)


@pytest.mark.parametrize("name", matching(DICOM))
def test_dicom_beside_them_is_refused(name: str) -> None:
    """These are mosaics of 48 slices whose pictures were made smaller, so that the slices no longer lie in a grid."""
    with pytest.raises(ValueError, match="a picture of 256x256 pixels, expected a grid of 7x7 tiles of 48 slices"):
        load_image(ROOT / name)


@pytest.mark.parametrize("name", matching(REFUSED))
def test_other_formats_are_refused(name: str) -> None:
    reason = next(reason for pattern, reason in REFUSED.items() if fnmatch.fnmatchcase(name, pattern))
    with pytest.raises(ValueError, match=f"^{re.escape(str(ROOT / name))}: .*{reason}"):
        load_image(ROOT / name)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("scale", [(1, 0), (2, -1024), (0.3, 1e-3), (0, 7), (float("nan"), 3)])
def test_every_type_order_and_scale(tmp_path: Path, kind: str, order: str, version: int, scale: Any) -> None:
    fields = dict(zip(("scl_slope", "scl_inter"), scale, strict=True))
    path = write(tmp_path / "v.nii", noise((4, 5, 6), order + kind), order, version, **fields)
    assert nib.load(path).dataobj.dtype == np.dtype(order + kind)
    check(path)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6), (4, 5, 6, 3), (4, 5, 1, 3), (4, 5, 6, 1, 3), (4, 5, 6, 1, 1)])
def test_every_number_of_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    check(write(tmp_path / "v.nii", noise(shape)))


def test_five_long_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2, 2, 3\), expected at most four"):
        load_image(write(tmp_path / "v.nii", noise((2, 2, 2, 2, 3))))


@pytest.mark.parametrize(("sform", "qform"), [(0, 0), (0, 1), (2, 0), (4, 1)])
@pytest.mark.parametrize("version", [1, 2])
def test_affine_is_the_one_that_nibabel_chooses(tmp_path: Path, sform: int, qform: int, version: int) -> None:
    """The qform differs from the sform by its offset, so that each is known from the other."""
    codes = {"sform_code": sform, "qform_code": qform, "qoffset_x": 99.0}
    path = write(tmp_path / "v.nii", noise((4, 5, 6)), version=version, **codes)
    check(path)
    assert (np.asarray(load_image(path).affine)[0, 3] == 99) == (qform > 0 and sform == 0)


@pytest.mark.parametrize("suffix", [".img", ".hdr", ".img.gz", ".hdr.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_pairs(tmp_path: Path, suffix: str, kind: Any) -> None:
    nib.save(kind(noise((4, 5, 6)), TURNED), tmp_path / f"v{suffix}")
    check(tmp_path / f"v{suffix}")


@pytest.mark.parametrize("colours", [3, 4])
def test_colours_are_channels(tmp_path: Path, colours: int) -> None:
    values = noise((4, 5, 6, colours), "u1")
    kind = np.dtype([(letter, "u1") for letter in "RGBA"[:colours]])
    nib.save(nib.Nifti1Image(values.view(kind)[..., 0], TURNED), tmp_path / "v.nii")
    expected = values[..., :3].transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "v.nii")), expected)


def in_members(content: bytes) -> bytes:
    """Several gzip files one after the other, the first shorter than a header."""
    return b"".join(gzip.compress(part) for part in (content[:100], content[100:360], b"", content[360:]))


def wrong_sum(content: bytes) -> bytes:
    zipped = bytearray(gzip.compress(content))
    zipped[-8:-4] = zlib.crc32(b"of another file").to_bytes(4, "little")
    return bytes(zipped)


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        in_members,
        lambda content: gzip.compress(content + bytes(5000)),
        lambda content: gzip.compress(content + b"garbage" * 900),
        lambda content: gzip.compress(content) + bytes(512),
        lambda content: in_members(content) + b"garbage" * 900,
        lambda content: content,  # its name says gzip, it is none
    ],
)
def test_gzip_as_it_occurs(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    plain = write(tmp_path / "plain.nii", noise((14, 15, 16)))
    (tmp_path / "v.nii.gz").write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "v.nii.gz")), np.asarray(load_image(plain)))


@pytest.mark.parametrize("end", [b"\0" * 700, b"garbage" * 100])
def test_what_follows_the_voxels_is_passed_over(tmp_path: Path, end: bytes) -> None:
    path = write(tmp_path / "v.nii", noise((4, 5, 6)))
    path.write_bytes(path.read_bytes() + end)
    check(path)


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("v.nii.gz", wrong_sum, "checksum|check"),
        ("v.nii.gz", lambda content: gzip.compress(content)[:-600], "ends too early"),
        ("v.nii.gz", lambda content: gzip.compress(content)[:-4], "ends too early"),
        ("v.nii.gz", lambda content: gzip.compress(content[:-1]), "6719 bytes of voxels, expected 6720"),
        ("v.nii", lambda content: content[:-1], "7071 bytes, expected 7072"),
        ("v.nii", lambda content: content[:347], "347 bytes that begin as no NIfTI"),
        ("v.nii", lambda content: b"", "0 bytes that begin as no NIfTI"),
    ],
)
def test_damage_is_refused(tmp_path: Path, name: str, damage: Callable[[bytes], bytes], reason: str) -> None:
    content = write(tmp_path / "plain.nii", noise((14, 15, 16))).read_bytes()
    (tmp_path / name).write_bytes(damage(content))
    with pytest.raises(ValueError, match=f"^{re.escape(str(tmp_path / name))}: expected a readable NIfTI.*{reason}"):
        load_image(tmp_path / name)
