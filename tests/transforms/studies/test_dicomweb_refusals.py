"""Servers that are not there, do not let in, or answer wrongly: an error that names the server and the study."""

from __future__ import annotations

import json
import logging
import math
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pydicom
import pytest
import requests
from pydicom.dataset import Dataset

from fedmed_transforms.studies.dicomweb.fetch import fetch_study
from fedmed_transforms.studies.dicomweb.query import query_studies
from fedmed_transforms.studies.dicomweb.server import TOKEN, DicomWebServer
from fedmed_transforms.studies.dicomweb.store import store_results
from tests.archive_gateway import Gateway
from tests.orthanc_server import OrthancServer, free_port
from tests.waiting import END_SECONDS

STUDY = "1.2.3.4"

PATIENCE = 5.0


@pytest.fixture
def study(save_series: Callable[..., Path], orthanc: OrthancServer, tmp_path: Path) -> Path:
    folder = save_series(tmp_path / "series", PatientID="1", StudyID="1")
    orthanc.upload(folder)
    return folder


def holds_pixels(path: str) -> bool:
    """Tells if a path asks for a series or an instance, not for a list."""
    return "?" not in path and "/series/" in path


def cut_short(path: str, body: bytes) -> bytes:
    """An instance that lacks its last pixels, in an answer of the right form."""
    if not holds_pixels(path):
        return body
    end = body.rindex(b"\r\n--")
    return body[: end - 30] + body[end:]


def other_uid(path: str, body: bytes) -> bytes:
    return body.replace(b"1.2.3.4", b"1.2.3.5") if holds_pixels(path) else body


def garbage(path: str, body: bytes) -> bytes:
    return body.replace(b"DICM", b"____") if holds_pixels(path) else body


def no_json(path: str, body: bytes) -> bytes:
    return b"<html>Please log in</html>"


def shorter_list(path: str, body: bytes) -> bytes:
    return json.dumps(json.loads(body)[1:]).encode() if path.partition("?")[0].endswith("/instances") else body


def climbing_uid(path: str, body: bytes) -> bytes:
    items = json.loads(body) if path.partition("?")[0].endswith("/instances") else None
    for item in items or []:
        item["00080018"]["Value"] = ["../../climbed"]
    return json.dumps(items).encode() if items else body


@pytest.mark.parametrize(
    "damage, found",
    [
        (cut_short, r"found part of the instance \S+, expected all of it"),
        (other_uid, r"found the series \S+ of the study 1\.2\.3\.5, expected the series"),
        (garbage, r"found a damaged answer \(InvalidDicomError\), expected a complete answer"),
        (no_json, "found no JSON, expected an answer of a DICOMweb server"),
        (shorter_list, "found 4 instances of the series .*, expected 5: it may still be arriving"),
        (climbing_uid, "expected a UID, up to 64 digits and dots, found '../../climbed'"),
    ],
)
def test_a_damaged_answer_leaves_no_folder(
    damage: Callable[[str, bytes], bytes], found: str, study: Path, orthanc: OrthancServer, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with Gateway(orthanc.url, lambda path, headers, status, body: (status, damage(path, body))) as gateway:
        with pytest.raises(ValueError, match=rf"^{gateway.url}: study {STUDY}.*{found}"):
            fetch_study(DicomWebServer(gateway.url, PATIENCE), STUDY, tmp_path / "out" / "study")
    assert not list((tmp_path / "out").iterdir())


def test_a_server_that_ignores_pages_is_asked_twice(study: Path, orthanc: OrthancServer) -> None:
    asked: list[str] = []
    everything = requests.get(f"{orthanc.url}/studies", timeout=END_SECONDS).content

    def all_again(path: str, headers: Mapping[str, str], status: int, body: bytes) -> tuple[int, bytes]:
        asked.append(path)
        return 200, everything

    with Gateway(orthanc.url, all_again) as gateway:
        assert set(query_studies(DicomWebServer(gateway.url), {})) == {STUDY}
    assert len(asked) == 2


def test_an_error_that_passes_is_waited_for(study: Path, orthanc: OrthancServer, tmp_path: Path) -> None:
    statuses = iter([503, 429, 502])
    with Gateway(orthanc.url, lambda path, headers, status, body: (next(statuses, status), body)) as gateway:
        folder = fetch_study(DicomWebServer(gateway.url), STUDY, tmp_path / "study")
    assert len(list(folder.rglob("*.dcm"))) == 5 and next(statuses, None) is None


def refusal(instance: Dataset, reason: int) -> bytes:
    answer, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.SOPClassUID, instance.SOPInstanceUID
    item.FailureReason = reason
    answer.FailedSOPSequence = [item]
    return answer.to_json().encode()


@pytest.mark.parametrize("status", [409, 202])
def test_the_reason_of_a_refused_result_is_told(
    status: int, study: Path, orthanc: OrthancServer, tmp_path: Path
) -> None:
    file = min(study.iterdir())
    body = refusal(pydicom.dcmread(file), 0xA700)
    orthanc.clear()

    def refuse(path: str, headers: Mapping[str, str], found: int, answer: bytes) -> tuple[int, bytes]:
        return (found, answer) if "?" in path else (status, body)

    with Gateway(orthanc.url, refuse) as gateway:
        match = f"{file}: {gateway.url}: study {STUDY}, instance .*: found it refused with 0xA700, expected"
        with pytest.raises(ValueError, match=match):
            store_results(DicomWebServer(gateway.url), [file])


def test_a_server_that_is_not_there() -> None:
    url = f"http://127.0.0.1:{free_port()}/dicom-web"
    with pytest.raises(ValueError, match=f"^{url}: query of studies: found Connection refused for 0.5 s, expected a"):
        query_studies(DicomWebServer(url, patience=0.5), {"PatientName": "Doe"})


@pytest.mark.parametrize("url", ["", "archive.hospital.org/dicom-web", "ftp://archive/dicom", "http:///dicom-web"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="dicomweb: expected an address as https://host/dicom-web, found"):
        DicomWebServer(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="expected them in ~/.netrc") as error:
        DicomWebServer("https://reader:secret@archive.hospital.org/dicom-web")
    assert "secret" not in str(error.value) and "reader" not in str(error.value)


def test_name_and_password(
    processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with OrthancServer(tmp_path / "guarded", users={"reader": "secret"}) as guarded:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login reader password secret\n")
        assert query_studies(DicomWebServer(guarded.url), {}) == {}
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login reader password wrong\n")
        with pytest.raises(ValueError, match=rf"^{guarded.url}: query of studies: found 401 Unauthorized, expected"):
            query_studies(DicomWebServer(guarded.url, patience=math.inf), {})  # it is as wrong the next time
    assert "secret" not in caplog.text


def test_a_certificate_that_is_vouched_for(
    study: Path, orthanc: OrthancServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "certificate.pem").read_text())
    with Gateway(orthanc.url, lambda path, headers, status, body: (status, body), both) as gateway:
        with pytest.raises(ValueError, match="found an untrusted certificate, expected"):
            query_studies(DicomWebServer(gateway.url, patience=math.inf), {})
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
        assert set(query_studies(DicomWebServer(gateway.url), {})) == {STUDY}


def test_a_token_is_shown_to_the_server_alone(
    study: Path, orthanc: OrthancServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def guard(path: str, headers: Mapping[str, str], status: int, body: bytes) -> tuple[int, bytes]:
        return (status, body) if headers.get("Authorization") == "Bearer t0ken" else (403, b"")

    with Gateway(orthanc.url, guard) as gateway:
        with pytest.raises(ValueError, match=f"found 403 Forbidden, expected access: .* or a token in {TOKEN}"):
            query_studies(DicomWebServer(gateway.url), {})
        monkeypatch.setenv(TOKEN, "t0ken")
        assert set(query_studies(DicomWebServer(gateway.url), {})) == {STUDY}
    assert "t0ken" not in caplog.text
