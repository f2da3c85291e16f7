"""Folders, zips and DICOMDIRs as they occur: with strangers in them, with odd names, damaged, leading elsewhere."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest

from fedmed_transforms import load_image

Save = Callable[..., Path]


@pytest.fixture
def series(tmp_path: Path, save_dicom: Save) -> Path:
    """A folder with three slices, one millimetre apart."""
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(3):
        pixels = np.full((4, 5), 10 * number, dtype=np.uint8)
        save_dicom(folder / f"{number}.dcm", pixels, number=number, position=number)
    return folder


def empty(folder: Path) -> None:
    (folder / "empty").touch()


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.dcm")


def links_in_a_circle(folder: Path) -> None:
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "self.dcm").symlink_to(folder / "self.dcm")


def broken_link(folder: Path) -> None:
    (folder / "gone.dcm").symlink_to(folder / "nowhere.dcm")


def strangers(folder: Path) -> None:
    for name in ("Thumbs.db", "notes.txt", ".DS_Store", "viewer.exe", "._0.dcm"):
        (folder / name).write_bytes(b"none of this is an image")


def without_preamble(folder: Path) -> None:
    """A file that begins with its first element, known by its suffix alone."""
    header = pydicom.dcmread(folder / "1.dcm")
    del header.file_meta
    header.preamble = None
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, header, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert buffer.getvalue()[:4] == b"\x08\x00\x16\x00"  # SOPClassUID
    (folder / "1.dcm").write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    "change", [empty, pipe, links_in_a_circle, broken_link, strangers, without_preamble, lambda folder: None]
)
def test_a_folder_loads_whatever_lies_beside_its_slices(series: Path, change: Callable[[Path], None]) -> None:
    change(series)
    image = np.asarray(load_image(series))
    assert image.shape == (1, 5, 4, 3) and image[0, 0, 0].tolist() == [0, 10, 20]


@pytest.mark.parametrize("name", ["with blanks", "Übersicht-頭部", "a[b]*?", "quote'\"", "%20;&"])
def test_paths_of_any_characters(series: Path, name: str) -> None:
    folder = series.rename(series.parent / name)
    assert load_image(folder).shape == (1, 5, 4, 3)
    assert load_image(folder / "1.dcm").shape == (1, 5, 4, 1)
    (folder / "2.dcm").write_bytes((folder / "2.dcm").read_bytes()[:-3])
    with pytest.raises(ValueError, match=re.escape(f"{folder / '2.dcm'}: expected 20 bytes of pixels, found 17")):
        load_image(folder)


@pytest.mark.parametrize("content", [b"", bytes(132), b"x" * 5000, bytes(128) + b"DICM", bytes(128) + b"DICM\x02"])
def test_a_damaged_slice_is_named(series: Path, content: bytes) -> None:
    (series / "1.dcm").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{series / '1.dcm'}: expected a DICOM file, found")):
        load_image(series)


def zip_of(path: Path, folder: Path, method: int = zipfile.ZIP_DEFLATED, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"a folder/{file.name}")
        for name, content in more.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_of_every_method(series: Path, tmp_path: Path, method: int) -> None:
    image = load_image(zip_of(tmp_path / "s.zip", series, method))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(load_image(series)))


def test_what_lies_beside_the_slices_in_a_zip_is_passed_over(series: Path, tmp_path: Path) -> None:
    inner = zip_of(tmp_path / "inner.zip", series).read_bytes()
    blank = bytes(2**24)  # compresses a thousand times
    strangers = {"__MACOSX/._0.dcm": bytes(128) + b"DICM", "inner.zip": inner, "blank.dcm": blank, "empty": b""}
    with zipfile.ZipFile(zip_of(tmp_path / "s.zip", series), "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in strangers.items():
            archive.writestr(name, content)
    assert load_image(tmp_path / "s.zip").shape == (1, 5, 4, 3)


def test_a_zip_in_a_zip_is_no_image(series: Path, tmp_path: Path) -> None:
    content = zip_of(tmp_path / "inner.zip", series).read_bytes()
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"outer\.zip: found no DICOM image"):
        load_image(zip_of(tmp_path / "outer.zip", tmp_path / "none", inner=content))


def encrypted(content: bytes) -> bytes:
    """The flag that says so, in every local and central header (APPNOTE 4.4.4)."""
    found = bytearray(content)
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for match in re.finditer(re.escape(signature), content):
            found[match.start() + flags] |= 1
    return bytes(found)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (encrypted, "is encrypted, password required"),
        (lambda content: content[:-30], "not a zip file"),
        (lambda content: b"", "not a zip file"),
        (lambda content: content.replace(b"PK\3\4", b"PK\3\5"), "Bad magic number"),
    ],
)
def test_damaged_zips_are_refused(series: Path, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str) -> None:
    path = zip_of(tmp_path / "s.zip", series)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"s\.zip: expected a zip with DICOM files, found .*{reason}"):
        load_image(path)


@pytest.mark.parametrize(
    "names", [["..", "0.dcm"], ["SERIES", ".."], ["/etc/hosts"], ["A" * 300], ["DICOMDIR"], ["GONE"]]
)
def test_a_dicomdir_leads_nowhere_else(series: Path, tmp_path: Path, names: list[str]) -> None:
    shipped = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "DICOMDIR"
    directory = pydicom.dcmread(shipped)
    records: Any = directory.DirectoryRecordSequence
    for record in records:
        if "ReferencedFileID" in record:
            record.ReferencedFileID = names
    directory.save_as(tmp_path / "DICOMDIR")
    with pytest.raises(
        ValueError, match="DICOMDIR: (expected files below|lists|found no DICOM image|expected readable)"
    ):
        load_image(tmp_path / "DICOMDIR")
