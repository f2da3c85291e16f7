"""Wanted elements found without the parser are the parser's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedmed_transforms import load_image
from fedmed_transforms.dicom.dicom_file import ALWAYS, read_dicom_file
from fedmed_transforms.dicom.header_index import index_header

SHIPPED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*"))

Save = Callable[..., Path]


def indexed(path: Path) -> tuple[Dataset, int] | None:
    return index_header(path.read_bytes()[: 2**15], ALWAYS)


def test_elements_of_shipped_files_are_those_of_the_parser() -> None:
    count = 0
    for path in SHIPPED:
        found = indexed(path) if path.is_file() else None
        if found is None:
            continue
        header, position = found
        with path.open("rb") as file:
            parsed = pydicom.dcmread(file, stop_before_pixels=True)
            assert file.tell() == position, path.name
        wanted = {tag for tag in parsed.keys() if int(tag) in ALWAYS}
        assert set(header.keys()) == wanted, path.name
        assert all(header[tag] == parsed[tag] for tag in wanted), path.name
        assert header.file_meta.TransferSyntaxUID == parsed.file_meta.TransferSyntaxUID
        count += 1
    assert count > 50  # most of them: the others are of another encoding, or have no pixels


def nested(depth: int, undefined: bool) -> list[Dataset]:
    item = Dataset()
    item.CodeValue = "1"
    if depth:
        item.ConceptNameCodeSequence = nested(depth - 1, undefined)
        item["ConceptNameCodeSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    return [item]


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [0, 3, 12])
def test_sequences_are_passed_over(tmp_path: Path, save_dicom: Save, letter: Any, undefined: bool, depth: int) -> None:
    path = save_dicom(tmp_path / "f.dcm", letter, ProcedureCodeSequence=nested(depth, undefined), PatientSex="O")
    dicom = pydicom.dcmread(path)
    dicom["ProcedureCodeSequence"].is_undefined_length = undefined
    dicom.save_as(path)
    found = indexed(path)
    assert (found is None) == (undefined and depth == 12)  # so deep the parser takes over
    assert load_image(path).meta["dicom"]["PatientSex"] == "O"
    if found:
        assert found[0].Rows == 20 and "ProcedureCodeSequence" not in found[0]


def test_texts_are_read_in_the_file_s_character_set(tmp_path: Path, save_dicom: Save, letter: Any) -> None:
    path = save_dicom(tmp_path / "f.dcm", letter, SpecificCharacterSet="ISO_IR 192", Manufacturer="Gerät 頭")
    found = indexed(path)
    assert found is not None and found[0].Manufacturer == "Gerät 頭"
    assert load_image(path).meta["dicom"]["Manufacturer"] == "Gerät 頭"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_the_parser(tmp_path: Path, save_dicom: Save, letter: Any, syntax: Any) -> None:
    path = save_dicom(tmp_path / "f.dcm", letter)
    expected = load_image(path)
    dicom = pydicom.dcmread(path)
    dicom.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dicom.save_as(buffer, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    path.write_bytes(buffer.getvalue())
    assert indexed(path) is None
    np.testing.assert_array_equal(np.asarray(load_image(path)), np.asarray(expected))


def test_a_header_beyond_the_first_look_is_left_to_the_parser(tmp_path: Path, save_dicom: Save, letter: Any) -> None:
    path = save_dicom(tmp_path / "f.dcm", letter, ImageComments="x" * 9000)
    dicom = pydicom.dcmread(path)
    dicom.private_block(0x0009, "LONG", create=True).add_new(1, "OB", bytes(2**16))
    dicom.save_as(path)
    assert indexed(path) is None and load_image(path).shape == (1, 12, 20, 1)


def test_any_element_can_choose_a_series(tmp_path: Path, save_dicom: Save, letter: Any) -> None:
    for number in (1, 2):
        save_dicom(
            tmp_path / f"{number}.dcm", letter, number=number, position=0.0, ProtocolName=f"p{number}", SliceThickness=1
        )
    assert load_image(tmp_path, series={"ProtocolName": "p2"}).shape == (1, 12, 20, 1)


def test_an_element_is_checked_by_its_bytes_and_stays_unconverted(tmp_path: Path, save_dicom: Save) -> None:
    """A header's second reader converts what it needs; a damaged element is refused after thousands of good ones."""
    path = save_dicom(tmp_path / "a.dcm", np.zeros((8, 8), dtype=np.uint16))
    for _ in range(2):
        header = read_dicom_file(path, str(path), ALWAYS).header
        assert all(isinstance(header.get_item(keyword), RawDataElement) for keyword in ("Rows", "BitsStored"))
    content = path.read_bytes()
    place = content.index(b"\x28\x00\x10\x00US\x02\x00")  # Rows, two bytes
    path.write_bytes(content[: place + 6] + b"\x04\x00" + content[place + 8 : place + 10] * 2 + content[place + 10 :])
    with pytest.raises(ValueError, match=r"a\.dcm: expected a DICOM file, found a Rows that is no number"):
        read_dicom_file(path, str(path), ALWAYS)
