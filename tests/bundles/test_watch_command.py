"""The bundles' watch: the command on a folder, and between an archive's studies and their results."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom.seg  # noqa: F401, which takes seconds: before the processes part
import pydicom
import pytest
import torch
from monai.bundle import ConfigParser, run

from fedmed_networks import FACMIC, FedMSA
from fedmed_transforms.studies.dicomweb import server as dicomweb
from fedmed_transforms.studies.dicomweb.query import query_series
from fedmed_transforms.studies.dicomweb.server import DicomWebServer
from fedmed_workflows.clinic.watch import archive as watched_archive
from tests.bright_network import Bright
from tests.bundles.test_study_in_result_out import write_study
from tests.cutting_link import CuttingLink
from tests.orthanc_server import OrthancServer
from tests.waiting import END_SECONDS, until
from tests.watch_process import WatchProcess, attempts, errors, page, states, table

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")

BUNDLES = Path(__file__).parents[2] / "bundles"


def configs(bundle: str) -> list[str]:
    return [str(BUNDLES / bundle / "configs" / name) for name in ("inference.json", "watch.json")]


@pytest.fixture
def series(organ_sites: Path) -> Path:
    return min((organ_sites / "harbour" / "images").iterdir())


@pytest.fixture
def segment(
    small_sam: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Entries of the watch of FedMSA's bundle, with a network that marks what is bright, and a server soon given up."""
    monkeypatch.setattr(watched_archive, "PATIENCE", 0.5)
    monkeypatch.setattr(dicomweb.DicomWebServer.__init__, "__defaults__", (0.5,))
    monkeypatch.setattr(FedMSA, "forward", Bright.forward)
    network = FedMSA(model_type=small_sam["model_type"], image_size=64)
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")

    def entries(**others: Any) -> dict[str, Any]:
        return {
            "config_file": configs("fedmsa_segmentation"), "bundle_root": str(BUNDLES / "fedmsa_segmentation"),
            "device": "cpu", "ckpt_path": str(tmp_path / "model.pt"), "output_dir": str(tmp_path / "out"),
            "channels": {"organ": [1]}, "settle_seconds": 1.5, "poll_seconds": 0.1, **small_sam, **others,
        }  # fmt: skip

    return entries


def watch(entries: dict[str, Any]) -> None:
    run(**entries)


def modalities(orthanc: OrthancServer, study: str) -> list[str]:
    return sorted(series.Modality for series in query_series(DicomWebServer(orthanc.url), study).values())


def test_an_archive_is_watched(
    segment: Callable[..., dict[str, Any]], series: Path, orthanc: OrthancServer, tmp_path: Path
) -> None:
    """Results are stored once, whatever is started again; the archive may be away; a late slice makes a new result."""
    asked, out = segment(dicomweb=orthanc.url, study={"ModalitiesInStudy": "MR"}), tmp_path / "out"
    first = write_study(tmp_path / "sent" / "1", series, "1.2.1", PatientID="organ-1")
    late = max(first.iterdir()).rename(tmp_path / "late.dcm")
    write_study(tmp_path / "sent" / "other", series, "1.2.9", PatientID="organ-9", Modality="CT")
    orthanc.upload(tmp_path / "sent")
    with WatchProcess(watch, asked) as process:
        until(lambda: states(out) == {"1.2.1": "done"})
        assert modalities(orthanc, "1.2.1") == ["MR", "SEG"] and modalities(orthanc, "1.2.9") == ["CT"]
        orthanc.stop()
        until(lambda: "a DICOMweb server that answers" in page(out))
        orthanc.start()
        gap = write_study(tmp_path / "more" / "2", series, "1.2.2", PatientID="organ-2")
        (gap / "2.dcm").unlink()
        write_study(tmp_path / "more" / "3", series, "1.2.3", PatientID="organ-3")
        orthanc.upload(tmp_path / "more")
        until(lambda: states(out) == {"1.2.1": "done", "1.2.2": "set aside", "1.2.3": "done"})
        assert process.end(signal.SIGTERM) == 0
    assert "expected evenly spaced slices" in errors(out)["1.2.2"] and not (out / ".fetched").exists()
    stored = orthanc.count()
    with WatchProcess(watch, asked):
        write_study(tmp_path / "last", series, "1.2.4", PatientID="organ-4")
        orthanc.upload(tmp_path / "last")
        until(lambda: states(out).get("1.2.4") == "done")
        assert orthanc.count() == stored + 7  # six slices, and the result of them
        (tmp_path / "slice").mkdir()
        late.rename(tmp_path / "slice" / "late.dcm")
        orthanc.upload(tmp_path / "slice")
        until(lambda: modalities(orthanc, "1.2.1") == ["MR", "SEG", "SEG"])
        until(lambda: states(out).get("1.2.1") == "done")
    result = pydicom.dcmread(out / "1.2.1" / "1.2.1.1_seg.dcm")
    assert len(result.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 6
    assert sorted(row["study"] for row in table(out / "results.csv")) == ["1.2.1", "1.2.3", "1.2.4"]


def test_a_study_that_a_server_does_not_send_does_not_keep_back_the_others(
    segment: Callable[..., dict[str, Any]], series: Path, orthanc: OrthancServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    requests = re.compile(rb"GET /dicom-web/studies/1\.2\.1/series/[0-9.]+(/instances/[0-9.]+)? ")
    for number in (1, 2):
        write_study(tmp_path / str(number), series, f"1.2.{number}", PatientID=f"organ-{number}")
        orthanc.upload(tmp_path / str(number))
    with CuttingLink(orthanc.url, lambda data, to_server: to_server and bool(requests.match(data))) as link:
        with WatchProcess(watch, segment(dicomweb=link.url)) as process:
            until(lambda: states(out) == {"1.2.1": "set aside", "1.2.2": "done"})
            assert process.end(signal.SIGTERM) == 0
    assert attempts(out) == {"1.2.1": 3, "1.2.2": 1} and "study 1.2.1" in errors(out)["1.2.1"]
    assert "expected a DICOMweb server that answers" in errors(out)["1.2.1"]
    assert modalities(orthanc, "1.2.1") == ["MR"] and modalities(orthanc, "1.2.2") == ["MR", "SEG"]


def test_results_that_a_server_does_not_take_wait_for_it(
    segment: Callable[..., dict[str, Any]], series: Path, orthanc: OrthancServer, tmp_path: Path
) -> None:
    """A server that is stopped while the network works."""
    out = tmp_path / "out"
    write_study(tmp_path / "1", series, "1.2.1")
    orthanc.upload(tmp_path / "1")
    stores: list[bytes] = []
    down = threading.Event()

    def cuts(data: bytes, to_server: bool) -> bool:
        if to_server and data.startswith(b"POST ") and not stores:
            stores.append(data)
            down.set()
        return down.is_set()

    with CuttingLink(orthanc.url, cuts) as link, WatchProcess(watch, segment(dicomweb=link.url)) as process:
        until(lambda: "not stored" in page(out))
        assert states(out) == {"1.2.1": "waiting"} and orthanc.count() == 6
        down.clear()
        until(lambda: states(out) == {"1.2.1": "done"})
        assert process.alive and attempts(out) == {"1.2.1": 1}
    assert modalities(orthanc, "1.2.1") == ["MR", "SEG"] and len(table(out / "results.csv")) == 1


def test_the_command_and_its_retry(series: Path, small_clip: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"model": FACMIC(["healthy", "glioma"], clip=small_clip).state_dict()}, tmp_path / "model.pt")
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    write_study(incoming / "a", series, "1.2.1")
    (incoming / "cut.nii.gz").write_bytes(b"cut")
    entries = {
        "config_file": configs("facmic_classification"), "bundle_root": str(BUNDLES / "facmic_classification"),
        "clip": small_clip, "image_size": 16, "device": "cpu", "ckpt_path": str(tmp_path / "model.pt"),
        "dataset_dir": str(incoming), "output_dir": str(out), "settle_seconds": 0.2, "poll_seconds": 0.1,
    }  # fmt: skip
    command = [sys.executable, "-m", "monai.bundle", "run"]
    command += [part for name, value in entries.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, "PYTHONPATH": str(BUNDLES.parent)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=BUNDLES.parent)
    try:
        until(lambda: states(out) == {"1.2.1": "done", str(incoming / "cut.nii.gz"): "set aside"})
        ended = errors(out)
        (incoming / "cut.nii.gz").unlink()
        run(run_id="retry", study=str(incoming / "cut.nii.gz"), **entries)
        until(lambda: states(out) == {"1.2.1": "done"})  # there is no such file any more
    finally:
        process.terminate()
        assert process.wait(END_SECONDS) == 0
    assert "expected a readable NIfTI" in ended[str(incoming / "cut.nii.gz")]
    lines = (tmp_path / "log").read_text()
    assert "running: 0 waiting, 0 processing, 1 done, 1 set aside" in lines and "ended: 0 waiting" in lines


def test_every_bundle_has_the_same_watch() -> None:
    texts = {path.read_text() for path in BUNDLES.glob("*/configs/watch.json")}
    assert len(texts) == 1 and len(list(BUNDLES.glob("*/configs/watch.json"))) == len(list(BUNDLES.iterdir()))
    for bundle in BUNDLES.iterdir():
        content = ConfigParser.load_config_files(configs(bundle.name))
        assert content["evaluator"]["_target_"].endswith("WatchEvaluator") and content["dataset"]["data"] == "@watch"
        assert set(content["evaluator"]) > {"network", "val_handlers", "postprocessing"}


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"settle_seconds": -1}, "settle_seconds: found -1, expected a number of at least 0"),
        ({"poll_seconds": "often"}, "poll_seconds: found 'often', expected a number of at least 0"),
        ({"dataset_dir": "nowhere"}, "nowhere: expected a folder to watch, found none"),
        ({"dicomweb": "http://127.0.0.1:9", "study": "1.2"}, "study: expected a query as {'ModalitiesInStudy': 'CT'}"),
        ({"dicomweb": "http://127.0.0.1:9", "study": {"Colour": "red"}}, "expected keywords of DICOM elements"),
    ],
)
def test_what_can_not_be_watched(
    segment: Callable[..., dict[str, Any]], tmp_path: Path, others: dict[str, Any], said: str
) -> None:
    with pytest.raises(RuntimeError) as refused:
        run(**segment(**{"dataset_dir": str(tmp_path), **others}))
    error: BaseException | None = refused.value
    while error is not None and said not in str(error):
        error = error.__cause__
    assert isinstance(error, ValueError)
