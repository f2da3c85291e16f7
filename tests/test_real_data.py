"""FACMIC across three sites of real MRI slices, judged on a fourth; the folder is named by FEDMED_DATA."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder of real images"),
]

LEAST = 0.50
"""Balanced accuracy on the unseen site; chance is 0.25."""


@pytest.fixture
def entries(bundle_root: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "config_file": str(bundle_root / "configs" / "federated.json"),
        "bundle_root": str(bundle_root),
        "dataset_dir": str(Path(os.environ["FEDMED_DATA"]) / "brain_tumor_mri"),
        "unseen_site": "unseen",
        "output_dir": str(tmp_path / "run"),
        "device": "cpu",
    }


def test_fifty_rounds_on_brain_tumour_slices(entries: dict[str, Any]) -> None:
    """The contrastive loss alone: with random CLIP weights, aligning to the target's raw features teaches nothing."""
    workflow = create_workflow(**entries, **{"facmic#target": "none"})
    result = workflow.run()[0]
    before, after = (result[stage]["unseen"]["metrics"]["balanced_accuracy"]["value"] for stage in ("initial", "final"))
    print(f"unseen site, balanced accuracy: {before:.3f} before round 1, {after:.3f} after round 50")
    assert result["final"]["unseen"]["images"] == 120
    assert len(result["history"]) == 51
    assert after >= LEAST > before
