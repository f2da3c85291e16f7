"""What several test files need: the bundle, a small CLIP, the golden numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def bundle_root() -> Path:
    return ROOT / "bundles" / "facmic_classification"


@pytest.fixture(scope="session")
def small_clip() -> dict[str, Any]:
    """An open_clip configuration that builds in a moment: 16-pixel pictures."""
    return {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }


@pytest.fixture(scope="session")
def golden() -> dict[str, torch.Tensor]:
    """Numbers of the published FACMIC implementation on small random inputs."""
    with np.load(Path(__file__).parent / "data" / "facmic.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}
