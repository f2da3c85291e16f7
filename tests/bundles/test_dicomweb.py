"""The inference command between an archive's studies and their results, which it keeps once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import run

from fedmed_networks import FACMIC, FedMSA
from fedmed_transforms.studies.dicomweb.query import query_series
from fedmed_transforms.studies.dicomweb.server import DicomWebServer
from tests.bundles.test_study_in_result_out import Bright, table, write_study
from tests.cutting_link import CuttingLink
from tests.orthanc_server import OrthancServer

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture
def studies(organ_sites: Path, orthanc: OrthancServer, tmp_path: Path) -> None:
    """Two good studies, the first with a second series, and one that lacks a slice."""
    series, root = min((organ_sites / "harbour" / "images").iterdir()), tmp_path / "sent"
    write_study(root / "T2", series, "1.2.1", SeriesDescription="T2 axial")
    write_study(root / "T1", series, "1.2.1", SeriesDescription="T1", SeriesInstanceUID="1.2.1.2")
    write_study(root / "other", series, "1.2.2", SeriesDescription="T2 coronal")
    (write_study(root / "gap", series, "1.2.3", SeriesDescription="T2") / "2.dcm").unlink()
    orthanc.upload(root)


@pytest.fixture(params=["segmentation", "classification"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def entries(
    kind: str, small_sam: dict[str, Any], small_clip: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Entries of ``inference.json``, with a small network that loads quickly."""
    monkeypatch.setattr(FedMSA, "forward", Bright.forward)
    if kind == "segmentation":
        root, network = BUNDLES / "fedmsa_segmentation", FedMSA(model_type=small_sam["model_type"], image_size=64)
        others = {"channels": {"organ": [1]}, **small_sam}
    else:
        root, network = BUNDLES / "facmic_classification", FACMIC(["healthy", "glioma"], small_clip)
        others = {"class_names": ["healthy", "glioma"], "clip": small_clip, "image_size": 16}
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    return {
        "config_file": str(root / "configs" / "inference.json"), "bundle_root": str(root), "device": "cpu",
        "ckpt_path": str(tmp_path / "model.pt"), "output_dir": str(tmp_path / "out"),
        "series_rules": {"series": {"SeriesDescription": "T2.*"}}, **others,
    }  # fmt: skip


def modalities(orthanc: OrthancServer, study: str) -> list[str]:
    """Returns the modalities of a study's series."""
    return sorted(series.Modality for series in query_series(DicomWebServer(orthanc.url), study).values())


@pytest.mark.usefixtures("studies")
def test_results_go_where_the_studies_come_from_once(
    entries: dict[str, Any], kind: str, orthanc: OrthancServer, tmp_path: Path
) -> None:
    result, before, out = {"segmentation": "SEG", "classification": "SR"}[kind], orthanc.count(), tmp_path / "out"
    stores: list[bytes] = []

    def cuts(data: bytes, to_server: bool) -> bool:  # the first result is sent, and nobody hears what became of it
        stores.extend([data] if to_server and data.startswith(b"POST ") else [])
        return not to_server and len(stores) == 1 and not link.broken

    with CuttingLink(orthanc.url, cuts) as link:
        asked = {"dicomweb": link.url, "study": ["1.2.1", "1.2.3", "1.2.2", "1.2.99"]}
        for _ in range(2):  # the second time the archive has the results among its studies
            with pytest.raises(RuntimeError) as refused:
                run(**entries, **asked)
            assert "2 of 4 studies and images were refused" in str(refused.value.__cause__)
    assert (link.broken, len(stores), orthanc.count()) == (1, 2, before + 2)
    assert modalities(orthanc, "1.2.1") == ["MR", "MR", result] and modalities(orthanc, "1.2.2") == ["MR", result]
    assert modalities(orthanc, "1.2.3") == ["MR"]
    errors = {row["study"]: row["error"] for row in table(out / "errors.csv")}
    assert "expected evenly spaced slices" in errors["1.2.3"] and "found no series" in errors["1.2.99"]
    assert {row["series"] for row in table(out / "results.csv")} == {"1.2.1.1", "1.2.2.1"}
    assert not (out / ".fetched").exists() and len(list(out.rglob("*.dcm"))) == 2


@pytest.mark.usefixtures("studies")
@pytest.mark.parametrize("kind", ["segmentation"], indirect=True)
def test_studies_are_chosen_by_a_query(entries: dict[str, Any], orthanc: OrthancServer, tmp_path: Path) -> None:
    run(**entries, dicomweb=orthanc.url, study={"StudyInstanceUID": "1.2.2"})
    assert modalities(orthanc, "1.2.2") == ["MR", "SEG"] and modalities(orthanc, "1.2.1") == ["MR", "MR"]
    with pytest.raises(RuntimeError) as refused:
        run(**entries, dicomweb=orthanc.url, study={"PatientID": "nobody"})
    assert "found no study, expected some that match PatientID" in str(refused.value.__cause__)
    with pytest.raises(RuntimeError) as refused:
        run(**entries, dicomweb=orthanc.url)
    assert "study: expected a StudyInstanceUID, several, or a query" in refusals(refused.value)


def refusals(error: BaseException | None) -> str:
    """The messages of an error and of its causes."""
    return f"{error} {refusals(error.__cause__)}" if error else ""
