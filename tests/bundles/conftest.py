"""The segmentation bundles, a small SAM and small sites for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedmed_transforms.simulation.volume_phantoms import write_segmentation_sites

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["fedmsa", "fedsam"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def segmentation_root(method: str) -> Path:
    return ROOT / "bundles" / f"{method}_segmentation"


@pytest.fixture(scope="session")
def small_sam() -> dict[str, Any]:
    """Entries of train.json for a SAM that builds in a moment: 64-pixel pictures."""
    sizes = {
        "width": 32, "depth": 2, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16, "neck": 16,
        "decoder_depth": 1, "decoder_heads": 2, "decoder_mlp": 32,
    }  # fmt: skip
    return {"model_type": sizes, "image_size": 64, "normalize": False}


@pytest.fixture(scope="session")
def organ() -> dict[str, Any]:
    """Settings for the phantoms' labels: the channel of the organ and the pattern of the patients' names."""
    return {"channels": {"organ": [1]}, "patient_pattern": "^([a-z]+-[0-9]+)"}


@pytest.fixture(scope="session")
def organ_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sites and an unseen one: DICOM series, NIfTI, PNG, of four patients each."""
    return write_segmentation_sites(tmp_path_factory.mktemp("organ") / "sites", volumes=4, size=32)


@pytest.fixture
def federation(
    method: str, segmentation_root: Path, organ_sites: Path, small_sam: dict[str, Any], organ: dict[str, Any],
    tmp_path: Path,
) -> dict[str, Any]:  # fmt: skip
    """Entries of federated.json for a run of two rounds that takes seconds."""
    return {
        "config_file": str(segmentation_root / "configs" / "federated.json"),
        "bundle_root": str(segmentation_root),
        "dataset_dir": str(organ_sites),
        "unseen_site": "unseen",
        "output_dir": str(tmp_path / "run"),
        "rounds": 2,
        "device": "cpu",
        "recipe": organ,
        method: {**small_sam, "weights": None, "learning_rate": 1e-3, "batch_size": 8},
    }
