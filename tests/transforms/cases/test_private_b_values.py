"""b-values of manufacturers' own elements, as archives and de-identification leave them behind."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from fedmed_transforms import load_image
from tests.transforms.cases.written_series import expected, write_series

ELEMENTS = {
    "(0019,100C)": (0x19, "SIEMENS MR HEADER", 0x0C, "IS", ["1000", "50"]),
    "(0043,1039)": (0x43, "GEMS_PARM_01", 0x39, "IS", [[1000001000, 8, 0, 0], [50, 8, 0, 0]]),
    "(2001,1003)": (0x2001, "Philips Imaging DD 001", 0x03, "FL", [1000.0, 50.0]),
    "(0065,1009)": (0x65, "Image Private Header", 0x09, "FD", [1000.0, 50.0]),
}

STORED = {
    "IS": lambda value: "\\".join(map(str, np.atleast_1d(value))).encode(),
    "FL": lambda value: struct.pack("<f", value),
    "FD": lambda value: struct.pack("<d", value),
}


def to_implicit(dicom: pydicom.Dataset) -> None:
    dicom.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def to_unknown(dicom: pydicom.Dataset) -> None:
    """Writes private values as archives do that don't know them: their bytes, of unknown representation."""
    for element in [element for element in dicom if element.tag.is_private and not element.tag.is_private_creator]:
        content = STORED[element.VR](element.value)
        dicom[element.tag] = DataElement(element.tag, "UN", content + b" " * (len(content) % 2))


def without_creators(dicom: pydicom.Dataset) -> None:
    for element in [element for element in dicom if element.tag.is_private_creator]:
        del dicom[element.tag]


def unknown_without_creators(dicom: pydicom.Dataset) -> None:
    to_unknown(dicom)
    without_creators(dicom)


@pytest.mark.parametrize("change", [to_implicit, to_unknown, without_creators, unknown_without_creators])
@pytest.mark.parametrize("tag", ELEMENTS)
def test_a_private_b_value_is_read(tmp_path: Path, tag: str, change: Any) -> None:
    """The volume of the lower b-value is the first, though its slices come last."""
    group, creator, byte, representation, values = ELEMENTS[tag]
    volumes = [{"private": {(group, creator, byte): (representation, value)}} for value in values]
    folder = write_series(tmp_path / "s", volumes)
    for file in folder.iterdir():
        dicom = pydicom.dcmread(file)
        change(dicom)
        dicom.save_as(file, implicit_vr=change is to_implicit, little_endian=True)
    with pytest.raises(ValueError) as error:
        load_image(folder)
    assert f"found 2 volumes of 3 slices each, told apart by the b-value {tag} (at one place" in str(error.value)
    for number in (0, 1):
        np.testing.assert_array_equal(load_image(folder, volume=number).as_tensor()[0], expected(1 - number))


def test_another_owner_of_the_block_states_no_b_value(tmp_path: Path) -> None:
    private = [{"private": {(0x19, "SOMEBODY ELSE", 0x0C): ("IS", value)}} for value in ("1000", "50")]
    with pytest.raises(ValueError, match="told apart by InstanceNumber"):
        load_image(write_series(tmp_path / "s", private))
