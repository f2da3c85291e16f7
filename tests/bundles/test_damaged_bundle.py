"""A trained bundle with a flipped bit never answers: not by inference, not by exports, not by MONAI Label."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import ckpt_export, create_workflow

from fedmed_networks import FACMIC, check_digest
from fedmed_transforms.simulation.phantom_series import write_series
from fedmed_transforms.simulation.scanners import SCANNERS
from fedmed_workflows.clinic.label_server import link_bundles
from tests.bundles.test_exports import FORMS, SIDES, cause_of, export, inference, list_digest, train


def flip(file: Path) -> None:
    """Flips one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 64
    file.write_bytes(bytes(content))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_list_is_that_of_sha256sum(federated: dict[str, Any]) -> None:
    bundle = train(federated)
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=bundle / "models", capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    names = {line.split(":")[0] for line in checked.stdout.splitlines()}
    configs = {f"../{path.relative_to(bundle).as_posix()}" for path in (bundle / "configs").rglob("*.json")}
    assert names == {"model.pt", *configs} and len(configs) > 5


@pytest.mark.parametrize("damaged", ["models/model.pt", "configs/inference.json", "configs/metadata.json"])
def test_a_damaged_bundle_is_refused_by_its_file(
    federated: dict[str, Any], tmp_path: Path, damaged: str
) -> None:
    bundle, study = train(federated), Path(federated["dataset_dir"]) / "unseen"
    inference(bundle, None, dataset_dir=str(study), output_dir=str(tmp_path / "before")).run()
    if damaged == "models/model.pt":
        flip(bundle / damaged)
    else:
        file = bundle / damaged
        file.write_text(file.read_text().replace("  ", " ", 1))  # the same settings
    expected = f"{bundle / 'models' / '..' / damaged}" if damaged != "models/model.pt" else str(bundle / damaged)

    def answer() -> None:
        inference(bundle, None, dataset_dir=str(study), output_dir=str(tmp_path / "after")).run()

    refused = cause_of(answer)
    assert refused.startswith(expected) and "the file is damaged or was changed" in refused
    assert not (tmp_path / "after" / "predictions.csv").exists()
    if damaged == "models/model.pt":  # also where the command is not told the bundle's folder
        assert "is damaged or was changed" in cause_of(lambda: export(bundle, "torchscript", SIDES["facmic"]))
    told = {"bundle_root": str(bundle), "config_file": str(bundle / "configs" / "inference.json")}
    files = {"filepath": str(tmp_path / "model.ts"), "ckpt_file": str(bundle / "models" / "model.pt")}
    assert "is damaged or was changed" in cause_of(lambda: ckpt_export(**told, **files, use_trace=True))
    assert not (tmp_path / "model.ts").exists() and not (bundle / "models" / "model.ts").exists()
    served = bundle.rename(bundle.with_name("a_classification"))
    with pytest.raises(ValueError, match="damaged or was changed"):
        link_bundles(tmp_path / "app", [served])


@pytest.mark.parametrize("form", FORMS)
def test_an_exported_network_is_listed_and_compared(federated: dict[str, Any], tmp_path: Path, form: str) -> None:
    bundle, study = train(federated), Path(federated["dataset_dir"]) / "unseen"
    file = bundle / "models" / FORMS[form]
    export(bundle, form, SIDES["facmic"])

    def answer() -> None:
        inference(bundle, form, dataset_dir=str(study), output_dir=str(tmp_path / "answers")).run()

    assert "does not list this file" in cause_of(answer)
    list_digest(file)
    answer()
    with (tmp_path / "answers" / "predictions.csv").open() as rows:
        assert len(list(csv.DictReader(rows))) == 24
    flip(file)
    assert cause_of(answer).startswith(f"{file}: found the SHA-256 {sha256(file)}, expected")


def test_a_network_that_is_trained_further_is_listed_again(federated: dict[str, Any], tmp_path: Path) -> None:
    bundle = train(federated)
    before = sha256(bundle / "models" / "model.pt")
    create_workflow(
        config_file=str(bundle / "configs" / "train.json"), workflow_type="train", bundle_root=str(bundle),
        dataset_dir=str(Path(federated["dataset_dir"]) / "site_a"), output_dir=str(tmp_path / "eval"), epochs=1,
        device="cpu", batch_size=8,
    ).run()  # fmt: skip
    assert sha256(bundle / "models" / "model.pt") != before
    check_digest(bundle / "models" / "model.pt")
    inference(bundle, None, dataset_dir=str(Path(federated["dataset_dir"]) / "unseen"),
              output_dir=str(tmp_path / "answers")).run()  # fmt: skip


def test_results_name_the_file_that_was_loaded(federated: dict[str, Any], tmp_path: Path) -> None:
    bundle = train(federated)
    network = FACMIC(["dots", "stripes"], federated["facmic"]["clip"])
    other = tmp_path / "other.pt"
    torch.save(network.state_dict(), other)
    images = [np.full((16, 16), value) for value in (0.2, 0.5, 0.8)]
    (tmp_path / "study").mkdir()
    write_series(tmp_path / "study", "p1", images, SCANNERS["harbour"], "digests")
    versions = []
    for number, file in enumerate((bundle / "models" / "model.pt", other)):
        folder = tmp_path / f"answers_{number}"
        inference(bundle, None, dataset_dir=str(tmp_path / "study"), output_dir=str(folder), ckpt_path=str(file)).run()
        (report,) = folder.rglob("*_sr.dcm")
        assert sha256(file)[:8] in str(pydicom.dcmread(report))
        versions.append(pydicom.dcmread(report).SeriesDescription)
    assert versions[0] != versions[1]
    written = json.loads((bundle / "configs" / "inference.json").read_text())["algorithm"]["version"]
    assert written.endswith(sha256(bundle / "models" / "model.pt")[:8])
