"""The inference command on a clinic's folder: the right series of a study, results that refer to it, errors listed."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import create_workflow, run
from PIL import Image

from fedmed_networks import FACMIC, FedMSA
from fedmed_transforms import SegmentationToLabelsd, load_image, read_report
from fedmed_workflows.clinic.stage_seconds import STAGES, StageSeconds
from tests.bright_network import Bright
from tests.dicom_validator import errors_in

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")

BUNDLES = Path(__file__).parents[2] / "bundles"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_study(folder: Path, series: Path, study: str, **elements: Any) -> Path:
    """A phantom's series as a study of its own, its left half bright."""
    folder.mkdir(parents=True)
    for number, file in enumerate(sorted(series.iterdir())):
        dicom = pydicom.dcmread(file)
        pixels = np.zeros((64, 64), np.uint16)
        pixels[:, :32] = 1000
        dicom.set_pixel_data(pixels, "MONOCHROME2", 12, generate_instance_uid=False)
        dicom.PixelSpacing = [2.0, 2.0]
        dicom.StudyInstanceUID, dicom.SeriesInstanceUID = study, f"{study}.1"
        dicom.SOPInstanceUID = f"{study}.1.{number}"
        for keyword, value in elements.items():
            setattr(dicom, keyword, value)
        if "SeriesInstanceUID" in elements:
            dicom.SOPInstanceUID = f"{dicom.SeriesInstanceUID}.{number}"
        dicom.save_as(folder / f"{number}.dcm")
    return folder


@pytest.fixture
def clinic(organ_sites: Path, tmp_path: Path) -> Path:
    """Two good studies of the same folder names, the first with a second series; three bad ones; NIfTI and pictures."""
    series, root = min((organ_sites / "harbour" / "images").iterdir()), tmp_path / "clinic"
    write_study(root / "a" / "T2", series, "1.2.1", SeriesDescription="T2 axial")
    write_study(root / "a" / "T1", series, "1.2.1", SeriesDescription="T1", SeriesInstanceUID="1.2.1.2")
    write_study(root / "b" / "T2", series, "1.2.2", SeriesDescription="T2 coronal")
    gap = write_study(root / "gap", series, "1.2.3", SeriesDescription="T2")
    (gap / "2.dcm").unlink()
    torn = write_study(root / "torn", series, "1.2.4", SeriesDescription="T2")
    (torn / "3.dcm").write_bytes((torn / "3.dcm").read_bytes()[:-2000])
    write_study(root / "other", series, "1.2.5", SeriesDescription="T1")
    half = np.zeros((64, 64, 4), np.float32)
    half[:32] = 100
    nibabel.save(nibabel.Nifti1Image(half, np.diag([1.0, 1, 5, 1])), root / "volume.nii.gz")
    (root / "cut.nii.gz").write_bytes((root / "volume.nii.gz").read_bytes()[:200])
    picture = np.zeros((64, 64), np.uint8)
    picture[:, :32] = 255
    for name in ("a/key.png", "b/key.png"):
        Image.fromarray(picture).save(root / name)
    return root


@pytest.fixture
def segment(
    small_sam: dict[str, Any], clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Entries of inference.json, with a network that marks what is bright."""
    monkeypatch.setattr(FedMSA, "forward", Bright.forward)
    network = FedMSA(model_type=small_sam["model_type"], image_size=64)
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    root = BUNDLES / "fedmsa_segmentation"

    def entries(**others: Any) -> dict[str, Any]:
        return {
            "config_file": str(root / "configs" / "inference.json"), "bundle_root": str(root), "device": "cpu",
            "dataset_dir": str(clinic), "output_dir": str(tmp_path / "out"), "ckpt_path": str(tmp_path / "model.pt"),
            "series_rules": {"series": {"SeriesDescription": "T2.*"}}, "channels": {"organ": [1]}, **small_sam,
            **others,
        }  # fmt: skip

    return entries


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


EXPECTED = [
    "a/T2_seg.dcm", "a/T2_seg.nii.gz", "a/key_seg.png", "b/T2_seg.dcm", "b/T2_seg.nii.gz", "b/key_seg.png",
    "errors.csv", "results.csv", "volume_seg.nii.gz",
]  # fmt: skip


def test_segmentation(segment: Callable[..., dict[str, Any]], clinic: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RuntimeError) as refused:
        run(**segment(segment_codes={"organ": {"kind": ["10200004", "SCT", "Liver"]}}))
    assert "4 of 9 studies and images were refused; the first: " in str(refused.value.__cause__)
    assert files_below(out) == EXPECTED
    errors = {Path(row["path"]).name: row for row in table(out / "errors.csv")}
    assert set(errors) == {"gap", "torn", "other", "cut.nii.gz"}
    assert "expected evenly spaced slices" in errors["gap"]["error"] and errors["gap"]["study"] == "1.2.3"
    assert "torn/3.dcm" in errors["torn"]["error"]
    assert "found none; the rule `series` chooses; the study's 1 series: 1.2.5.1 (MR, 6" in errors["other"]["error"]
    results = {Path(row["path"]).relative_to(clinic).as_posix(): row for row in table(out / "results.csv")}
    assert set(results) == {"a/T2", "a/key.png", "b/T2", "b/key.png", "volume.nii.gz"}
    assert results["a/T2"]["series"] == "1.2.1.1" and results["a/T2"]["passed_over"] == (
        "1.2.1.2 (MR, 6 files, 64x64, series number 1, 'T1'): does not match SeriesDescription"
    )
    assert results["a/T2"]["files"] == "a/T2_seg.dcm\na/T2_seg.nii.gz"
    for name, study in (("a", "1.2.1"), ("b", "1.2.2")):
        check_segmentation(clinic / name / "T2", out / name / "T2_seg.dcm", study)
    assert np.array_equal(np.asarray(Image.open(out / "b" / "key_seg.png"))[:, [0, 63]], [[255, 0]] * 64)


def check_segmentation(series: Path, path: Path, study: str) -> None:
    assert errors_in(path, "Segmentation") == []
    dicom = pydicom.dcmread(path)
    assert dicom.StudyInstanceUID == study
    (referenced,) = dicom.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == f"{study}.1"
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == {
        f"{study}.1.{number}" for number in range(6)
    }
    (segment,) = dicom.SegmentSequence
    assert segment.SegmentLabel == "organ" and segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    assert segment.SegmentAlgorithmName == "FedMSA federated segmentation"
    source = load_image(series)
    label = SegmentationToLabelsd("label", "image")({"image": source, "label": load_image(path)})["label"]
    volume = load_image(path.with_suffix(".nii.gz"))
    for mask in (label, volume):
        assert torch.equal(mask.as_tensor() == 1, source.as_tensor() > 500)
        torch.testing.assert_close(mask.affine, source.affine, atol=1e-5, rtol=0)


def test_a_second_run_and_a_mended_study(segment: Callable[..., dict[str, Any]], clinic: Path, tmp_path: Path) -> None:
    """The same files; what goes well now leaves the list of errors; another folder's results are not overwritten."""
    out, asked = tmp_path / "out", segment()
    kept = ("results.csv", "errors.csv", "a/T2_seg.nii.gz", "b/key_seg.png")
    with pytest.raises(RuntimeError):
        run(**asked)
    before = {name: (out / name).read_bytes() for name in kept}
    with pytest.raises(RuntimeError):
        run(**asked)
    assert files_below(out) == EXPECTED and {name: (out / name).read_bytes() for name in kept} == before

    shutil.copy(clinic / "volume.nii.gz", clinic / "cut.nii.gz")
    with pytest.raises(RuntimeError) as refused:
        run(**{**asked, "series_rules": {**asked["series_rules"], "uneven": "resample"}})
    assert "2 of 9" in str(refused.value.__cause__)
    assert files_below(out) == sorted([*EXPECTED, "cut_seg.nii.gz", "gap_seg.dcm", "gap_seg.nii.gz"])
    assert {Path(row["path"]).name for row in table(out / "errors.csv")} == {"torn", "other"}
    assert pydicom.dcmread(out / "gap_seg.dcm").NumberOfFrames == 5  # of the slices that are there

    shutil.copytree(clinic / "a", tmp_path / "later" / "a")
    with pytest.raises(RuntimeError) as refused:
        run(**segment(dataset_dir=str(tmp_path / "later")))
    assert "1 of 2" in str(refused.value.__cause__)  # the study is the same, the picture is another one
    said = f"is there already, of {clinic / 'a' / 'key.png'}; expected another output_dir"
    assert said in str(refused.value.__cause__)


def test_stages_are_measured_and_nothing_is_loaded_ahead(
    segment: Callable[..., dict[str, Any]], clinic: Path
) -> None:
    workflow = create_workflow(workflow_type="inference", **segment(dataset_dir=[str(clinic / "a"), str(clinic / "b")]))
    seconds = StageSeconds()
    seconds.attach(workflow.parser.get_parsed_content("evaluator"))
    workflow.run()
    assert [Path(row["path"]).relative_to(clinic).as_posix() for row in seconds.rows] == [
        "a/T2", "a/key.png", "b/T2", "b/key.png",
    ]  # fmt: skip
    assert all(row[stage] > 0 for row in seconds.rows for stage in STAGES)


@pytest.fixture
def classifier(small_clip: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    root = BUNDLES / "facmic_classification"
    network = FACMIC(["healthy", "glioma"], clip=small_clip)
    torch.save({"model": network.state_dict()}, tmp_path / "model.pt")
    return {
        "config_file": str(root / "configs" / "inference.json"), "bundle_root": str(root), "clip": small_clip,
        "image_size": 16, "ckpt_path": str(tmp_path / "model.pt"), "output_dir": str(tmp_path / "out"), "device": "cpu",
        "series_rules": {"series": {"SeriesDescription": "T2.*"}},
    }  # fmt: skip


def test_classification(classifier: dict[str, Any], clinic: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    codes = {"glioma": ["393564001", "SCT", "Glioma"]}
    with pytest.raises(RuntimeError) as refused:
        run(**classifier, dataset_dir=str(clinic), class_codes=codes)
    assert "4 of 9 studies and images were refused" in str(refused.value.__cause__)
    assert files_below(out) == [
        "a/T2_sr.dcm", "b/T2_sr.dcm", "errors.csv", "predictions.csv", "predictions.json", "results.csv",
    ]  # fmt: skip
    predictions = {Path(row["image"]).relative_to(clinic).as_posix(): row for row in table(out / "predictions.csv")}
    assert set(predictions) == {"a/T2", "a/key.png", "b/T2", "b/key.png", "volume.nii.gz"}
    assert {Path(row["path"]).name for row in table(out / "errors.csv")} == {"gap", "torn", "other", "cut.nii.gz"}
    for name, study in (("a", "1.2.1"), ("b", "1.2.2")):
        report = pydicom.dcmread(out / name / "T2_sr.dcm")
        assert errors_in(out / name / "T2_sr.dcm", "EnhancedSR") == []
        (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
        (referenced,) = evidence.ReferencedSeriesSequence
        assert (report.StudyInstanceUID, referenced.SeriesInstanceUID) == (study, f"{study}.1")
        assert len(referenced.ReferencedSOPSequence) == 6
        row = predictions[f"{name}/T2"]
        assert read_report(out / name / "T2_sr.dcm") == pytest.approx(
            {label: float(row[label]) for label in ("healthy", "glioma")}
        )


def test_the_command_ends_with_an_error_status(classifier: dict[str, Any], clinic: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "--dataset_dir", str(clinic)]
    given = {**classifier, "series_rules#series": classifier["series_rules"]["series"]}
    given.pop("series_rules")
    command += [part for name, value in given.items() for part in (f"--{name}", str(value))]
    root = str(BUNDLES.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root}, cwd=root
    )
    assert done.returncode != 0 and "4 of 9 studies and images were refused" in done.stderr
    assert len(table(tmp_path / "out" / "predictions.csv")) == 5


def test_a_code_of_an_unknown_name_is_refused(classifier: dict[str, Any], clinic: Path) -> None:
    with pytest.raises(RuntimeError) as refused:
        run(**classifier, dataset_dir=str(clinic), class_codes={"gliom": ["1", "SCT", "x"]})
    cause: BaseException | None = refused.value
    while cause is not None and "expected classes of ['healthy', 'glioma'], found ['gliom']" not in str(cause):
        cause = cause.__cause__
    assert isinstance(cause, ValueError)
