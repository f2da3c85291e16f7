"""No site takes part whose DICOM files still name patients, unless that was allowed and the report says so."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydicom
import pytest
from monai.bundle import create_workflow
from PIL import Image

from fedmed_transforms.simulation.phantoms import write_sites
from fedmed_workflows.federation.federation import Federation
from fedmed_workflows.federation.preparation.identifiers import IdentifierCheck
from fedmed_workflows.sites.classification_sites import ClassificationSites


@pytest.fixture
def dicom_dir(tmp_path: Path) -> Path:
    """Three training sites and an unseen one, 16 to 20 DICOM files each."""
    return write_sites(tmp_path / "data", images_per_class=5, size=16)


@pytest.fixture
def entries(federated: dict[str, Any], dicom_dir: Path) -> dict[str, Any]:
    facmic = {**federated["facmic"], "batch_size": 4}
    return {**federated, "dataset_dir": str(dicom_dir), "rounds": 1, "facmic": facmic}


def federation(entries: dict[str, Any], **changes: Any) -> Federation:
    parsed: Federation = create_workflow(**copy.deepcopy({**entries, **changes})).parser.get_parsed_content(
        "federation"
    )
    return parsed


def add(file: Path, **elements: str) -> None:
    dicom = pydicom.dcmread(file)
    for keyword, value in elements.items():
        setattr(dicom, keyword, value)
    dicom.save_as(file)


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.dcm"))


def check(root: Path, identifiers: str = "refuse", target: str | None = None) -> Any:
    return IdentifierCheck(ClassificationSites(str(root), unseen_site="unseen"), identifiers, target)(None, root)


def test_files_that_were_de_identified_pass(dicom_dir: Path) -> None:
    prepared = check(dicom_dir)
    assert prepared.settings == {} and prepared.notes == []


def test_a_federation_is_refused_before_anything_is_released(entries: dict[str, Any], dicom_dir: Path) -> None:
    for file in files_of(dicom_dir / "hillside")[:3]:
        add(file, InstitutionName="St. Elsewhere", PatientBirthDate="19700101")
    add(files_of(dicom_dir / "unseen")[0], OperatorsName="Doe^Jane")
    said = (
        "found at site 'hillside': InstitutionName in 3 files, PatientBirthDate in 3 files; "
        "site 'unseen': OperatorsName in 1 file. .* --identifiers allow"
    )
    with pytest.raises(ValueError, match=said) as error:
        federation(entries).run()
    assert not any(value in str(error.value) for value in ("Elsewhere", "1970", "Jane", ".dcm"))
    output = Path(entries["output_dir"])
    assert not (output / "released").exists() and not (output / "checkpoints").exists()


def test_what_was_allowed_stands_in_the_report(entries: dict[str, Any], dicom_dir: Path) -> None:
    add(files_of(dicom_dir / "harbour")[0], InstitutionName="St. Elsewhere")
    note = "Files of site 'harbour' hold direct identifiers, which was allowed: InstitutionName in 1 file."
    result = federation(entries, identifiers="allow").run()
    output = Path(entries["output_dir"])
    assert note in result["notes"] and note in json.loads((output / "run.json").read_text())["notes"]
    report = (output / "report.html").read_text()
    assert "which was allowed: InstitutionName in 1 file." in report and "Elsewhere" not in report


def test_names_of_files_that_nobody_de_identified_are_refused(dicom_dir: Path) -> None:
    add(files_of(dicom_dir / "harbour")[0], PatientIdentityRemoved="NO")
    with pytest.raises(ValueError, match="site 'harbour': PatientID in 1 file, PatientName in 1 file"):
        check(dicom_dir)


def test_images_that_a_datalist_names_elsewhere(tmp_path: Path, dicom_dir: Path) -> None:
    store = (tmp_path / "store").resolve()
    (dicom_dir / "riverbend").rename(store)
    items = [{"image": str(file), "label": file.parent.name} for file in files_of(store)]
    (dicom_dir / "riverbend.json").write_text(json.dumps({"training": items}))
    assert check(dicom_dir).notes == []
    add(files_of(store)[0], StationName="MR1")
    with pytest.raises(ValueError, match="site 'riverbend': StationName in 1 file"):
        check(dicom_dir)


def test_a_target_s_folder(tmp_path: Path, dicom_dir: Path) -> None:
    target = write_sites(tmp_path / "target", images_per_class=1, size=16)
    for name in ("unseen", "none", None, str(target), str(tmp_path / "released.safetensors")):
        assert check(dicom_dir, target=name).notes == []
    add(files_of(target)[0], StationName="MR1")
    with pytest.raises(ValueError, match="found at the target: StationName in 1 file"):
        check(dicom_dir, target=str(target))


def test_a_file_that_does_not_decode_is_named_with_its_site(dicom_dir: Path) -> None:
    file = files_of(dicom_dir / "harbour")[0]
    file.write_text("no image at all")
    with pytest.raises(ValueError, match=rf"site 'harbour': .*{file.name}: expected a DICOM file"):
        IdentifierCheck(SimpleNamespace(images={"harbour": [str(file)]}))(None, dicom_dir)


def test_pictures_pass(tmp_path: Path) -> None:
    for site in ("a", "unseen"):
        (tmp_path / site / "dots").mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / site / "dots" / "1.png")
    assert check(tmp_path).notes == []


@pytest.mark.parametrize("wrong", ["ignore", "", None, True])
def test_another_answer_than_refuse_or_allow_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="identifiers: expected 'refuse' or 'allow', found"):
        IdentifierCheck(SimpleNamespace(images={}), wrong)
