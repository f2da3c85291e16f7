"""Studies fetched from a real archive, over links that break, whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from fedmed_transforms import load_image
from fedmed_transforms.studies.dicomweb.fetch import fetch_study
from fedmed_transforms.studies.dicomweb.query import query_series, query_studies
from fedmed_transforms.studies.dicomweb.server import DicomWebServer
from tests.cutting_link import CuttingLink
from tests.orthanc_server import OrthancServer

STUDY = "1.2.3.4"


@pytest.fixture
def study(save_series: Callable[..., Path], orthanc: OrthancServer, tmp_path: Path) -> Path:
    """A folder of two series of five slices and one of another study, which the archive holds."""
    for name in ("first", "second"):
        save_series(tmp_path / "sent" / name, PatientID="1", StudyDate="20240115")
    other = save_series(tmp_path / "sent" / "other", PatientID="2", StudyInstanceUID="1.2.3.9", StudyDate="20240216")
    orthanc.upload(tmp_path / "sent")
    assert orthanc.count() == 15
    for file in other.iterdir():
        file.unlink()
    other.rmdir()
    return tmp_path / "sent"


def instances(folder: Path) -> dict[str, pydicom.Dataset]:
    """Reads the DICOM files in a folder, by SOPInstanceUID."""
    found = [pydicom.dcmread(file) for file in folder.rglob("*") if file.is_file()]
    assert len({dicom.SOPInstanceUID for dicom in found}) == len(found)
    return {dicom.SOPInstanceUID: dicom for dicom in found}


def test_a_study_of_several_series_arrives_as_it_was_sent(
    study: Path, orthanc: OrthancServer, tmp_path: Path
) -> None:
    folder = fetch_study(DicomWebServer(orthanc.url), STUDY, tmp_path / "fetched" / "study")
    assert instances(folder) == instances(study) and len(instances(folder)) == 10
    assert {file.parent.name for file in folder.rglob("*.dcm")} == set(query_series(DicomWebServer(orthanc.url), STUDY))
    [first] = [part for part in folder.iterdir() if series_uid(part) == series_uid(study / "first")]
    np.testing.assert_array_equal(load_image(first), load_image(study / "first"))
    assert [path.name for path in folder.parent.iterdir()] == ["study"]


def series_uid(folder: Path) -> str:
    return str(pydicom.dcmread(min(folder.iterdir())).SeriesInstanceUID)


def test_one_series_of_a_study(study: Path, orthanc: OrthancServer, tmp_path: Path) -> None:
    uid = series_uid(study / "second")
    folder = fetch_study(DicomWebServer(orthanc.url), STUDY, tmp_path / "fetched", series=[uid])
    assert [path.name for path in folder.iterdir()] == [uid]
    assert instances(folder) == instances(study / "second")
    with pytest.raises(ValueError, match=rf"study {STUDY}: expected the series 1\.2\.9, found"):
        fetch_study(DicomWebServer(orthanc.url), STUDY, tmp_path / "none", series=[uid, "1.2.9"])
    assert not (tmp_path / "none").exists()


def test_studies_are_found_by_what_they_are(study: Path, orthanc: OrthancServer) -> None:
    server = DicomWebServer(orthanc.url)
    assert set(query_studies(server, {})) == {STUDY, "1.2.3.9"}
    assert set(query_studies(server, {"StudyDate": "20240201-"})) == {"1.2.3.9"}
    assert query_studies(server, {"PatientID": "3"}) == {}
    assert set(query_studies(server, {"PatientID": "*2"})) == {"1.2.3.9"}
    assert set(query_studies(server, {"PatientID": "?"})) == {STUDY, "1.2.3.9"}
    assert {series.Modality for series in query_series(server, STUDY).values()} == {"MR"}
    with pytest.raises(ValueError, match="keywords of DICOM elements, found 'Colour'"):
        query_studies(server, {"Colour": "red"})


def test_a_list_of_many_pages_is_whole(
    study: Path, orthanc: OrthancServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmed_transforms.studies.dicomweb.query.PAGE", 2)
    folder = fetch_study(DicomWebServer(orthanc.url), STUDY, tmp_path / "fetched")
    assert instances(folder) == instances(study)


def test_compressed_pixels_stay_as_they_are(study: Path, orthanc: OrthancServer, tmp_path: Path) -> None:
    orthanc.clear()
    for file in (study / "first").iterdir():
        dicom = pydicom.dcmread(file)
        dicom.compress(RLELossless, generate_instance_uid=False)
        dicom.save_as(file)
    orthanc.upload(study / "first")
    folder = fetch_study(DicomWebServer(orthanc.url), STUDY, tmp_path / "fetched")
    assert instances(folder) == instances(study / "first")
    assert {dicom.file_meta.TransferSyntaxUID for dicom in instances(folder).values()} == {RLELossless}


def test_a_link_that_breaks_again_and_again_delays_a_study(
    study: Path, orthanc: OrthancServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.cutting_link.BUFFER", 1500)  # about an instance
    answers = iter(range(10_000))
    with CuttingLink(orthanc.url, lambda data, to_server: not to_server and next(answers) % 5 == 4) as link:
        folder = fetch_study(DicomWebServer(link.url), STUDY, tmp_path / "fetched")
    assert link.broken >= 3 and instances(folder) == instances(study)


def test_what_arrived_before_the_link_broke_is_not_asked_for_again(
    study: Path, orthanc: OrthancServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.cutting_link.BUFFER", 1500)  # about an instance
    asked: list[str] = []
    parts = iter(range(10_000))

    def cuts(data: bytes, to_server: bool) -> bool:
        if to_server:
            asked.append(data.split(b" ")[1].decode())
        return not to_server and asked[-1].endswith(series_uid(study / "first")) and next(parts) == 3

    with CuttingLink(orthanc.url, cuts) as link:
        folder = fetch_study(DicomWebServer(link.url), STUDY, tmp_path / "fetched")
    alone = {path for path in asked if "/instances/" in path}
    assert link.broken == 1 and 0 < len(alone) < 5
    assert instances(folder) == instances(study)


def test_a_server_that_is_started_again_meanwhile(study: Path, orthanc: OrthancServer, tmp_path: Path) -> None:
    answers = iter(range(10_000))

    def stop(data: bytes, to_server: bool) -> bool:
        if to_server or next(answers) != 5:
            return False
        orthanc.stop()
        threading.Timer(0.5, orthanc.start).start()
        return True

    with CuttingLink(orthanc.url, stop) as link:
        folder = fetch_study(DicomWebServer(link.url), STUDY, tmp_path / "fetched")
    assert link.broken == 1 and instances(folder) == instances(study)


def test_a_link_that_stays_broken_leaves_no_folder(study: Path, orthanc: OrthancServer, tmp_path: Path) -> None:
    answers = iter(range(10_000))
    broken = r"(series|instance) \S+: found .* for 0.5 s"  # whichever the server had sent before
    with CuttingLink(orthanc.url, lambda data, to_server: not to_server and next(answers) > 5) as link:
        with pytest.raises(ValueError, match=rf"^{link.url}: study {STUDY}, {broken}") as error:
            fetch_study(DicomWebServer(link.url, patience=0.5), STUDY, tmp_path / "out" / "fetched")
    assert link.broken >= 2 and "expected a DICOMweb server that answers" in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("uid", ["1.2.3.4.5", "9"])
def test_an_unknown_study_is_named(uid: str, orthanc: OrthancServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"^{orthanc.url}: study {uid}: found no series, expected a study"):
        fetch_study(DicomWebServer(orthanc.url), uid, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("uid", ["", "1.2/../../../system", "1." * 33, "None"])
def test_what_is_no_uid_is_not_asked_for(uid: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="study: expected a UID, up to 64 digits and dots, found"):
        fetch_study(DicomWebServer("http://127.0.0.1:9"), uid, tmp_path / "fetched")


def test_a_folder_that_holds_something_is_left_alone(study: Path, orthanc: OrthancServer, tmp_path: Path) -> None:
    before = instances(study)
    with pytest.raises(ValueError, match=rf"sent: expected a new or an empty folder for the study {STUDY}"):
        fetch_study(DicomWebServer(orthanc.url), STUDY, study)
    assert instances(study) == before
    (tmp_path / "empty").mkdir()
    assert len(instances(fetch_study(DicomWebServer(orthanc.url), STUDY, tmp_path / "empty"))) == 10
