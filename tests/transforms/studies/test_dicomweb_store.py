"""Results stored in a real archive, each once, whatever breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
import torch
from monai.data import MetaTensor

from fedmed_transforms import load_image, read_report, read_segmentation, write_report, write_segmentation
from fedmed_transforms.studies.dicomweb.fetch import fetch_study
from fedmed_transforms.studies.dicomweb.query import query_instances, query_series, query_studies
from fedmed_transforms.studies.dicomweb.server import DicomWebServer
from fedmed_transforms.studies.dicomweb.store import store_results
from tests.cutting_link import CuttingLink
from tests.orthanc_server import OrthancServer

STUDY = "1.2.3.4"

REFUSES_REPORTS = "function ReceivedInstanceFilter(dicom, origin) return dicom.Modality ~= 'SR' end"


@pytest.fixture
def series(save_series: Callable[..., Path], tmp_path: Path) -> Path:
    return save_series(tmp_path / "series", PatientID="1", StudyID="1")


def write_results(series: Path, folder: Path) -> list[Path]:
    """A segmentation and a report of a series."""
    image = load_image(series)
    mask = torch.zeros(image.shape, dtype=torch.uint8)
    mask[0, 2:4, 3:7, 1:4] = 1
    return [
        write_segmentation(MetaTensor(mask, affine=image.affine), series, folder / "seg.dcm", ["organ"]),
        write_report({"glioma": 0.75, "healthy": 0.25}, series, folder / "sr.dcm"),
    ]


@pytest.fixture
def results(series: Path, tmp_path: Path) -> list[Path]:
    return write_results(series, tmp_path / "results")


def test_results_are_found_beside_their_images_and_come_back(
    series: Path, results: list[Path], orthanc: OrthancServer, tmp_path: Path
) -> None:
    orthanc.upload(series)
    server = DicomWebServer(orthanc.url)
    assert store_results(server, results) == results
    assert [set(found.ModalitiesInStudy) for found in query_studies(server, {}).values()] == [{"MR", "SEG", "SR"}]
    places = {found.Modality: uid for uid, found in query_series(server, STUDY).items()}
    for file, modality in zip(results, ("SEG", "SR"), strict=True):
        assert list(query_instances(server, STUDY, places[modality])) == [pydicom.dcmread(file).SOPInstanceUID]
    folder = fetch_study(server, STUDY, tmp_path / "fetched", series=[places["SEG"], places["SR"]])
    [segmentation], [report] = ((folder / places[modality]).iterdir() for modality in ("SEG", "SR"))
    assert pydicom.dcmread(segmentation) == pydicom.dcmread(results[0])
    torch.testing.assert_close(read_segmentation(segmentation)[0], read_segmentation(results[0])[0])
    assert read_report(report) == {"glioma": 0.75, "healthy": 0.25}


def test_results_that_are_made_again_are_not_stored_again(
    series: Path, results: list[Path], orthanc: OrthancServer, tmp_path: Path
) -> None:
    with CountingLink(orthanc.url) as link:
        server = DicomWebServer(link.url)
        assert store_results(server, results) == results
        assert store_results(server, results) == []
        assert store_results(server, write_results(series, tmp_path / "again")) == []
    assert link.stores == 2 and orthanc.count() == 2


class CountingLink(CuttingLink):
    """Counts what is stored over it, and cuts the first of these, or the answer to it."""

    def __init__(self, url: str, cut_request: bool = False, cut_answer: bool = False) -> None:
        self.stores, self.cut_request, self.cut_answer = 0, cut_request, cut_answer
        super().__init__(url, self._see)

    def _see(self, data: bytes, to_server: bool) -> bool:
        begins = to_server and data.startswith(b"POST ")
        self.stores += begins
        if begins and self.cut_request:
            self.cut_request = False
            return True
        if not to_server and self.stores and self.cut_answer:
            self.cut_answer = False
            return True
        return False


def test_a_store_that_breaks_off_is_made_again(results: list[Path], orthanc: OrthancServer) -> None:
    with CountingLink(orthanc.url, cut_request=True) as link:
        assert store_results(DicomWebServer(link.url), results) == results
    assert (link.broken, link.stores, orthanc.count()) == (1, 3, 2)


def test_a_store_whose_answer_is_lost_is_looked_up_and_not_made_again(
    results: list[Path], orthanc: OrthancServer
) -> None:
    with CountingLink(orthanc.url, cut_answer=True) as link:
        assert store_results(DicomWebServer(link.url), results) == results
    assert (link.broken, link.stores, orthanc.count()) == (1, 2, 2)


def test_a_large_result_is_stored_whole_after_a_break(
    series: Path, orthanc: OrthancServer, tmp_path: Path
) -> None:
    large = tmp_path / "large.dcm"
    dicom = pydicom.dcmread(write_results(series, tmp_path)[0])
    dicom.add_new(0x00091010, "OB", bytes(3_000_000))  # sent in parts, as the client does above a million bytes
    dicom.save_as(large)
    with CountingLink(orthanc.url, cut_request=True) as link:
        assert store_results(DicomWebServer(link.url), [large]) == [large]
    folder = fetch_study(DicomWebServer(orthanc.url), STUDY, tmp_path / "fetched")
    [file] = folder.rglob("*.dcm")
    assert pydicom.dcmread(file) == dicom


@pytest.fixture(scope="module")
def choosy(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    """An archive that takes no reports."""
    folder = tmp_path_factory.mktemp("choosy")
    (folder / "filter.lua").write_text(REFUSES_REPORTS)
    with OrthancServer(folder, LuaScripts=[str(folder / "filter.lua")]) as server:
        yield server


def test_what_is_refused_is_named_and_the_rest_is_stored(results: list[Path], choosy: OrthancServer) -> None:
    with pytest.raises(ValueError, match=f"^{choosy.url}: 1 of 2 results were not stored: {results[1]}: ") as error:
        store_results(DicomWebServer(choosy.url, patience=0.5), [results[1], results[0]])
    uid = pydicom.dcmread(results[1]).SOPInstanceUID
    assert f"study {STUDY}, instance {uid}: found it accepted but not kept" in str(error.value)
    assert choosy.count() == 1
    assert [found.Modality for found in query_series(DicomWebServer(choosy.url), STUDY).values()] == ["SEG"]


def test_a_file_that_is_no_dicom_keeps_back_no_other(
    results: list[Path], orthanc: OrthancServer, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("Doe^Jane")
    files = [tmp_path / "notes.txt", *results]
    with pytest.raises(ValueError, match="1 of 3 results were not stored: .*notes.txt: expected a DICOM file") as error:
        store_results(DicomWebServer(orthanc.url), files)
    assert orthanc.count() == 2 and "Doe" not in str(error.value)
