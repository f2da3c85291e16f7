"""Identifiers of DICOM files in text, in overlays, in icons, in the file meta, and outside the data set."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from fedmed_transforms.patients.identifiers import find_identifiers

PIXELS = np.zeros((3, 4), dtype=np.uint8)
SECRET = "Doe^Jane"
NAMED = "words of PatientName"

Save = Callable[..., Path]


@pytest.fixture
def clean(save_dicom: Save) -> Save:
    """Writes a file whose PatientID is a pseudonym: ``clean(path, **elements)``."""

    def save(path: Path, **elements: Any) -> Path:
        return save_dicom(path, PIXELS, **{"PatientIdentityRemoved": "YES", "StudyInstanceUID": "1.2.3", **elements})

    return save


def found(path: Path) -> list[str]:
    findings = find_identifiers(path)
    assert not any(word in finding.element.casefold() for finding in findings for word in ("jane", "doe", "4711"))
    return [finding.element for finding in findings]


def change(path: Path, edit: Callable[[Any], None]) -> Path:
    dicom = pydicom.dcmread(path)
    edit(dicom)
    dicom.save_as(path)
    return path


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyID", "7"), ("ClinicalTrialSubjectID", "7"), ("ClinicalTrialSubjectReadingID", "7"),
        ("ClinicalTrialSiteID", "7"), ("ClinicalTrialSiteName", "Elsewhere"), ("SpecimenIdentifier", "7"),
        ("ContainerIdentifier", "7"), ("SpecimenAccessionNumber", "7"), ("SlideIdentifier", "7"),
        ("BarcodeValue", "7"), ("SpecimenLabelInImage", "YES"), ("PerformedProcedureStepID", "7"),
        ("EncapsulatedDocument", b"%PDF-1.4"),
    ],
)  # fmt: skip
def test_numbers_of_studies_trials_and_specimens(tmp_path: Path, clean: Save, keyword: str, value: Any) -> None:
    assert found(clean(tmp_path / "a.dcm", **{keyword: value})) == [keyword]
    item = Dataset()
    setattr(item, keyword, value)
    assert found(clean(tmp_path / "a.dcm", SpecimenDescriptionSequence=[item])) == [keyword]


@pytest.mark.parametrize(
    ("tag", "kind", "value", "element"),
    [
        (0x60000022, "LO", "x", "OverlayDescription"), (0x60021500, "LO", "x", "OverlayLabel"),
        (0x60003000, "OW", bytes([7, 7]), "OverlayData: possible burnt-in text"),
        (0x601E4000, "LT", "x", "OverlayComments"), (0x50002500, "LO", "x", "CurveLabel"),
        (0x50020022, "LO", "x", "CurveDescription"), (0x50040040, "SH", "x", "AxisLabels"),
    ],
)  # fmt: skip
def test_overlays_and_curves(tmp_path: Path, clean: Save, tag: int, kind: str, value: Any, element: str) -> None:
    path = change(clean(tmp_path / "a.dcm"), lambda dicom: dicom.add_new(tag, kind, value))
    assert found(path) == [element]


def test_icons(tmp_path: Path, clean: Save) -> None:
    icon = Dataset()
    icon.Rows, icon.Columns = 1, 2
    assert found(clean(tmp_path / "a.dcm", IconImageSequence=[icon])) == ["IconImageSequence"]


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"SourceApplicationEntityTitle": "CT1"}, ["SourceApplicationEntityTitle"]),
        ({"SendingApplicationEntityTitle": "CT1"}, ["SendingApplicationEntityTitle"]),
        (
            {"PrivateInformationCreatorUID": "1.2.3", "PrivateInformation": b"JaneDoe "},
            ["PrivateInformation", "PrivateInformationCreatorUID"],
        ),
        ({"ImplementationVersionName": "TOOL 1"}, []),
    ],
)
def test_file_meta(tmp_path: Path, clean: Save, elements: dict[str, Any], expected: list[str]) -> None:
    def add(dicom: Any) -> None:
        for keyword, value in elements.items():
            setattr(dicom.file_meta, keyword, value)

    assert found(change(clean(tmp_path / "a.dcm"), add)) == expected


def test_preamble(tmp_path: Path, clean: Save) -> None:
    path = clean(tmp_path / "a.dcm")
    path.write_bytes(b"II*\0".ljust(128, b"\0") + path.read_bytes()[128:])
    assert found(path) == ["preamble"]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("more", [b"Jane", b"Jane Doe, born 1970", b"<html>" + bytes(40) + b"Jane", b"\xff\xd8\xff"])
def test_bytes_after_the_pixels(tmp_path: Path, clean: Save, more: bytes, compressed: bool) -> None:
    path = clean(tmp_path / "a.dcm")
    if compressed:
        change(path, lambda dicom: dicom.compress(RLELossless))
    path.write_bytes(path.read_bytes() + bytes(2))
    assert found(path) == []
    path.write_bytes(path.read_bytes()[:-2] + more)
    assert found(path) == ["bytes after the data set"]


def test_bytes_after_a_deflated_data_set(tmp_path: Path, clean: Save) -> None:
    dicom = pydicom.dcmread(clean(tmp_path / "a.dcm"))
    dicom.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dicom.save_as(tmp_path / "a.dcm")
    assert found(tmp_path) == []
    (tmp_path / "a.dcm").write_bytes((tmp_path / "a.dcm").read_bytes() + b"of Jane Doe")
    assert found(tmp_path) == ["bytes after the data set"]


def test_elements_that_nobody_knows(tmp_path: Path, clean: Save) -> None:
    path = change(clean(tmp_path / "a.dcm"), lambda dicom: dicom.add_new(0x00281FFE, "UN", b"Jane"))
    assert found(path) == ["unknown element"]


def test_padding_counts_if_it_is_not_zero(tmp_path: Path, clean: Save) -> None:
    for padding, expected in ((bytes(64), []), (b"Jane Doe", ["DataSetTrailingPadding"])):
        path = change(clean(tmp_path / "a.dcm"), lambda it: it.add_new(0xFFFCFFFC, "OB", padding))
        assert found(path) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT of Mrs. DOE", [f"StudyDescription: {NAMED}"]), ("jane, follow-up", [f"StudyDescription: {NAMED}"]),
        ("JaneDoe", [f"StudyDescription: {NAMED}"]),
        ("J. Döe", [f"StudyDescription: {NAMED}"]), ("Jane_head", [f"StudyDescription: {NAMED}"]),
        ("MRN-4711x", []), ("see MRN-4711.", ["StudyDescription: value of PatientID"]),
        ("doer Janet", []), ("head routine", []), ("T1 Do Ja", []),
    ],
)  # fmt: skip
def test_names_of_one_file_in_the_texts_of_another(
    tmp_path: Path, clean: Save, text: str, expected: list[str]
) -> None:
    clean(tmp_path / "a.dcm", StudyDescription=text)
    clean(tmp_path / "b.dcm", PatientIdentityRemoved="NO", PatientName=SECRET, PatientID="MRN-4711")
    assert found(tmp_path) == sorted([*expected, "PatientID", "PatientName"])
    clean(tmp_path / "b.dcm", PatientIdentityRemoved="NO", PatientName=SECRET, PatientID="x", StudyInstanceUID="1.2.4")
    assert found(tmp_path) == ["PatientID", "PatientName"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("White^Anna", "white matter", []), ("White^Anna", "Anna White", [f"SeriesDescription: {NAMED}"]),
        ("Long^Li", "long axis", []), ("Li^Wu", "Li Wu", []), ("Phantom^Head", "head phantom", []),
    ],
)  # fmt: skip
def test_words_that_are_also_names_need_another_part(
    tmp_path: Path, clean: Save, name: str, text: str, expected: list[str]
) -> None:
    elements = {"PatientIdentityRemoved": "NO", "PatientName": name, "SeriesDescription": text}
    assert found(clean(tmp_path / "a.dcm", **elements)) == sorted(["PatientID", "PatientName", *expected])


@pytest.mark.parametrize("long", [False, True])
def test_names_in_private_elements_in_sequences_and_in_zips(tmp_path: Path, clean: Save, long: bool) -> None:
    item = Dataset()
    item.CodeMeaning = "for Jane"
    path = clean(tmp_path / "a.dcm", PatientName=SECRET, PatientIdentityRemoved="NO", ProcedureCodeSequence=[item])

    padding = bytes(400 * long)

    def add(dicom: Any) -> None:
        dicom.private_block(0x0009, "ACME", create=True).add_new(1, "OB", b"\0\1 Name: DOE\0" + padding)

    expected = ["CodeMeaning: " + NAMED, "PatientID", "PatientName", "private: ACME", "private: ACME: " + NAMED]
    assert found(change(path, add)) == expected
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        archive.write(path, "1/a.dcm")
        archive.writestr("notes.txt", "nothing that is known")
    assert found(tmp_path / "study.zip") == expected
    with zipfile.ZipFile(tmp_path / "study.zip", "a") as archive:
        archive.comment = b"of Jane Doe"
    assert found(tmp_path / "study.zip") == [*expected[:3], "comment of the zip", *expected[3:]]


def test_names_of_files(tmp_path: Path, clean: Save) -> None:
    (tmp_path / "jane_doe").mkdir()
    clean(tmp_path / "jane_doe" / "a.dcm", PatientName=SECRET, PatientIdentityRemoved="NO")
    assert found(tmp_path) == ["PatientID", "PatientName", f"name of the file: {NAMED}"]


@pytest.mark.parametrize(
    "name", [SECRET, "Mustermann^Erika", "DOE JANE", "Doe, Jane", "O'Neil^Ann", "Yamada^Tarou=山田^太郎", "王^小明"]
)
def test_a_name_beside_identity_removed(tmp_path: Path, clean: Save, name: str) -> None:
    path = clean(tmp_path / "a.dcm", PatientName=name, SpecificCharacterSet="ISO_IR 192")
    assert found(path) == ["PatientName: a name beside PatientIdentityRemoved YES"]


@pytest.mark.parametrize(
    "name", ["pseudonym", "P7", "LUNG1-001", "TCGA-AB-1234", "Anonymous^Patient", "ANON^0001", "QIN-HEADNECK-01", "",
             "Phantom QA", "case_12", "REMOVED", "harbour patient 3", "3f2a9c"]
)  # fmt: skip
def test_a_pseudonym_beside_identity_removed(tmp_path: Path, clean: Save, name: str) -> None:
    assert found(clean(tmp_path / "a.dcm", PatientName=name)) == []


def test_a_file_without_a_preamble_is_searched(tmp_path: Path, clean: Save) -> None:
    path = clean(tmp_path / "a.dcm", StationName="CT1")
    for begin in (128 + 4, 128 + 4 + 12 + int.from_bytes(path.read_bytes()[140:144], "little")):
        (tmp_path / "bare").write_bytes(path.read_bytes()[begin:])
        assert found(tmp_path / "bare") == ["StationName"]


def test_numbers_of_diffusion_in_private_elements_tell_nothing(tmp_path: Path, clean: Save) -> None:
    def add(value: str) -> Callable[[Any], None]:
        return lambda dicom: dicom.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "LO", value)

    assert found(change(clean(tmp_path / "a.dcm"), add("1000"))) == []
    assert found(change(clean(tmp_path / "a.dcm"), add("Jane"))) == ["private: SIEMENS MR HEADER"]
