"""Real CT through the inference commands: a regular series, a tilted and uneven one, and the regular one as NIfTI."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.bundle import create_workflow

from fedmed_networks import FACMIC, FedMSA
from fedmed_workflows.clinic.stage_seconds import STAGES, StageSeconds
from tests.bright_network import Bright
from tests.dicom_validator import errors_in

ROOT = Path(__file__).parents[1]
SERIES = ("head_regular_jpegls", "head_tilted_uneven")
RULES = {"tilt": "shear", "uneven": "resample"}

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images"),
]


def entries(bundle: str, out: Path, **others: Any) -> dict[str, Any]:
    root = ROOT / "bundles" / bundle
    return {
        "config_file": str(root / "configs" / "inference.json"), "bundle_root": str(root), "device": "cpu",
        "dataset_dir": str(Path(os.environ["FEDMED_DATA"]) / "ct"), "output_dir": str(out), "series_rules": RULES,
        "workflow_type": "inference", **others,
    }  # fmt: skip


def test_segmentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FedMSA, "forward", Bright.forward)
    sizes = {"width": 32, "depth": 2, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16, "neck": 16,
             "decoder_depth": 1, "decoder_heads": 2, "decoder_mlp": 32}  # fmt: skip
    torch.save({"model": FedMSA(model_type=sizes, image_size=256).state_dict()}, tmp_path / "model.pt")
    workflow = create_workflow(
        **entries("fedmsa_segmentation", tmp_path, model_type=sizes, image_size=256, normalize=False,
                  ckpt_path=str(tmp_path / "model.pt"))
    )  # fmt: skip
    seconds = StageSeconds()
    seconds.attach(workflow.parser.get_parsed_content("evaluator"))
    workflow.run()
    for row in seconds.rows:
        print(f"{Path(row['path']).name}:", ", ".join(f"{stage} {row[stage]:.1f} s" for stage in STAGES))
    for name in SERIES:
        dicom = pydicom.dcmread(tmp_path / f"{name}_seg.dcm")
        assert errors_in(tmp_path / f"{name}_seg.dcm", "Segmentation") == []
        assert len(dicom.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 28
    files = [tmp_path / f"{name}_seg.nii.gz" for name in (SERIES[0], "head_regular")]
    masks = [nib.as_closest_canonical(nib.load(file)) for file in files]
    of_dicom, of_nifti = (np.asarray(mask.dataobj) > 0 for mask in masks)
    np.testing.assert_allclose(masks[0].affine, masks[1].affine, atol=1e-2)
    assert 2 * (of_dicom & of_nifti).sum() / (of_dicom.sum() + of_nifti.sum()) > 0.99 and of_nifti.mean() > 0.01


def test_classification(small_clip: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"model": FACMIC(["bleeding", "none"], clip=small_clip).state_dict()}, tmp_path / "model.pt")
    create_workflow(
        **entries("facmic_classification", tmp_path, clip=small_clip, image_size=16,
                  ckpt_path=str(tmp_path / "model.pt"))
    ).run()  # fmt: skip
    for name in SERIES:
        assert errors_in(tmp_path / f"{name}_sr.dcm", "EnhancedSR") == []
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert set(rows) == {*SERIES, "head_regular.nii.gz"}
    assert all(float(row["bleeding"]) + float(row["none"]) == pytest.approx(1, abs=1e-5) for row in rows.values())
