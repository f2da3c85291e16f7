"""Direct identifiers in DICOM files are found at any depth, counted, and never quoted."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from monai.transforms import Compose
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from fedmed_transforms import LoadMedicalImaged
from fedmed_transforms.patients.identifiers import CheckIdentifiersd, Finding, describe, find_identifiers, main

PIXELS = np.zeros((3, 4), dtype=np.uint8)
SECRET = "Doe^Jane"

Save = Callable[..., Path]


@pytest.fixture
def clean(save_dicom: Save) -> Save:
    """Writes a file whose PatientID is a pseudonym: ``clean(path, **elements)``."""

    def save(path: Path, **elements: Any) -> Path:
        return save_dicom(path, PIXELS, **{"PatientIdentityRemoved": "YES", **elements})

    return save


def found(path: Path) -> list[str]:
    return [finding.element for finding in find_identifiers(path)]


def sequence(**elements: Any) -> list[Dataset]:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def test_a_de_identified_file_is_clean(tmp_path: Path, clean: Save) -> None:
    assert found(clean(tmp_path / "a.dcm", PatientName="pseudonym", PatientID="p1")) == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "19700101"), ("PatientBirthTime", "1200"), ("OtherPatientIDs", "7"),
        ("OtherPatientNames", SECRET), ("PatientMotherBirthName", SECRET), ("PatientAddress", "Elm Street"),
        ("PatientTelephoneNumbers", "555"), ("MilitaryRank", "major"), ("MedicalRecordLocator", "7"),
        ("AccessionNumber", "7"), ("InstitutionName", "St. Elsewhere"), ("InstitutionAddress", "Elm Street"),
        ("ReferringPhysicianName", SECRET), ("OperatorsName", SECRET), ("StationName", "CT1"),
        ("DeviceSerialNumber", "7"), ("PatientComments", "x"), ("ContentCreatorName", SECRET),
        ("BurnedInAnnotation", "YES"), ("RecognizableVisualFeatures", "YES"),
        ("ReferencedPatientAliasSequence", sequence(StudyID="1")),
    ],
)  # fmt: skip
def test_elements_that_identify(tmp_path: Path, clean: Save, keyword: str, value: Any) -> None:
    assert found(clean(tmp_path / "a.dcm", **{keyword: value})) == [keyword]
    assert find_identifiers(tmp_path) == [Finding(keyword, 1, tmp_path / "a.dcm")]


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientBirthDate": "", "InstitutionName": " ", "ReferringPhysicianName": "^^", "OperatorsName": ""},
        {"BurnedInAnnotation": "NO", "RecognizableVisualFeatures": "NO", "ReferencedPatientAliasSequence": []},
        {"StudyDate": "20240101", "PatientSex": "F", "PatientAge": "044Y", "StudyID": "1", "Manufacturer": "M"},
    ],
)
def test_elements_that_are_empty_or_tell_nothing(tmp_path: Path, clean: Save, elements: dict[str, Any]) -> None:
    assert found(clean(tmp_path / "a.dcm", **elements)) == []


@pytest.mark.parametrize("removed", ["NO", "", None])
def test_names_and_ids_count_unless_the_identity_was_removed(
    tmp_path: Path, save_dicom: Save, removed: str | None
) -> None:
    elements = {} if removed is None else {"PatientIdentityRemoved": removed}
    save_dicom(tmp_path / "a.dcm", PIXELS, PatientName=SECRET, PatientID="7", **elements)
    assert found(tmp_path) == ["PatientID", "PatientName"]


def test_sequences_are_searched_and_their_patients_are_no_pseudonyms(tmp_path: Path, clean: Save) -> None:
    inner = sequence(PersonName=SECRET, PatientID="7", BurnedInAnnotation="YES")
    path = clean(
        tmp_path / "a.dcm", PatientName="pseudonym", SourceImageSequence=sequence(ReferencedImageSequence=inner)
    )
    assert found(path) == ["BurnedInAnnotation", "PatientID", "PersonName"]
    long = sequence(PersonName=SECRET, TextValue="x" * 10_000)
    assert found(clean(tmp_path / "a.dcm", SourceImageSequence=long)) == ["PersonName"]


def test_private_elements_by_creator(tmp_path: Path, clean: Save) -> None:
    dicom = pydicom.dcmread(clean(tmp_path / "a.dcm"))
    for group, creator in ((0x0009, "ACME 1"), (0x0009, "ACME 2"), (0x7FE1, "AFTER THE PIXELS")):
        block = dicom.private_block(group, creator, create=True)
        block.add_new(0x01, "LO", "x")
        block.add_new(0x02, "OB", bytes(10_000))
    dicom.private_block(0x0011, "EMPTY", create=True).add_new(0x01, "LO", "")
    dicom.add_new(0x00131001, "LO", "x")
    dicom.save_as(tmp_path / "a.dcm")
    expected = ["ACME 1", "ACME 2", "AFTER THE PIXELS", "group 0013 without a creator"]
    assert found(tmp_path) == [f"private: {name}" for name in expected]


def test_files_are_counted_and_the_first_is_named(tmp_path: Path, clean: Save) -> None:
    for name in ("b/2", "b/1.dcm", "c/.hidden", "a/0.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        clean(tmp_path / name, **({} if name.startswith("a") else {"StationName": "x"}))
    (tmp_path / "b" / "notes.txt").write_text(f"PatientName {SECRET}")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    (tmp_path / "a" / "nowhere").symlink_to(tmp_path / "missing")
    assert describe(find_identifiers(tmp_path)) == "StationName in 3 files"
    (finding,) = find_identifiers([tmp_path / "b", tmp_path / "c"])
    assert finding == Finding("StationName", 3, tmp_path / "b" / "1.dcm")


def test_linked_folders_are_searched(tmp_path: Path, clean: Save) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "site").mkdir()
    clean(tmp_path / "store" / "a.dcm", StationName="x")
    (tmp_path / "site" / "class").symlink_to(tmp_path / "store")
    assert found(tmp_path / "site") == ["StationName"]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "rtstruct.dcm"])
def test_transfer_syntaxes(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert path is not None
    header = pydicom.dcmread(str(path), force=True)
    expected = {key for key in ("PatientName", "PatientID", "InstitutionName", "AccessionNumber") if header.get(key)}
    assert expected and expected <= set(found(Path(str(path))))


def test_compressed_pixels(tmp_path: Path, clean: Save) -> None:
    dicom = pydicom.dcmread(clean(tmp_path / "a.dcm", StationName="x"))
    dicom.compress(RLELossless)
    dicom.save_as(tmp_path / "a.dcm")
    assert found(tmp_path) == ["StationName"]


def test_what_does_not_decode_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text(f"no image at all of {SECRET}" * 20)
    with pytest.raises(ValueError, match=r"a\.dcm: expected a DICOM file") as error:
        find_identifiers(tmp_path)
    assert SECRET not in str(error.value)
    with pytest.raises(ValueError, match="nowhere: no such file or folder"):
        find_identifiers(tmp_path / "nowhere")


def test_transform(tmp_path: Path, clean: Save) -> None:
    (tmp_path / "series").mkdir()
    for number in (1, 2):
        clean(tmp_path / "series" / f"{number}.dcm", number=number, position=number)
    load = Compose([CheckIdentifiersd("image"), LoadMedicalImaged("image")])
    data = {"image": str(tmp_path / "series"), "label": 1}
    assert CheckIdentifiersd("image")(data) == data
    assert load(data)["image"].shape == (1, 4, 3, 2)
    clean(tmp_path / "series" / "2.dcm", number=2, position=2, OperatorsName=SECRET)
    with pytest.raises(ValueError, match=r"series: expected .*, found OperatorsName in 1 file$") as error:
        CheckIdentifiersd("image")(data)
    assert "Jane" not in str(error.value)


def test_command(
    tmp_path: Path, clean: Save, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    monkeypatch.setattr(sys, "argv", ["identifiers", str(folder)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2 and "no such file or folder" in capsys.readouterr().err
    folder.mkdir()
    clean(folder / "a.dcm")
    assert main() == 0 and capsys.readouterr().out == f"{folder}: found no direct identifiers\n"
    clean(folder / "b.dcm", OperatorsName=SECRET)
    assert main() == 1
    table = capsys.readouterr().out
    assert table.splitlines()[1].split() == ["OperatorsName", "1", str(folder / "b.dcm")] and "Jane" not in table


def test_command_s_exit_status(tmp_path: Path, clean: Save) -> None:
    clean(tmp_path / "a.dcm", OperatorsName=SECRET)
    command = [sys.executable, "-m", "fedmed_transforms", "identifiers", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_a_zip_is_looked_into(tmp_path: Path, clean: Save) -> None:
    files = [clean(tmp_path / "a.dcm"), clean(tmp_path / "b.dcm", PatientBirthDate="19700101")]
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    assert find_identifiers(tmp_path / "study.zip") == [Finding("PatientBirthDate", 1, tmp_path / "study.zip")]
