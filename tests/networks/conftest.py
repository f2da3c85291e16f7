"""Fixtures for tests of SAM's networks: a small SAM with positions that are not zero, and its golden numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedmed_networks.sam.foundation import shared_sam

State = dict[str, torch.Tensor]
GOLDEN = Path(__file__).parents[1] / "data" / "fedfms.npz"


@pytest.fixture(scope="session")
def small_sam() -> dict[str, Any]:
    """The SAM of the golden numbers, for images of 64 pixels: 4 x 4 tokens, windows of 3."""
    return {
        "width": 32, "depth": 3, "heads": 4, "window_size": 3, "global_blocks": [1], "patch_size": 16, "neck": 16,
        "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp": 64,
    }  # fmt: skip


@pytest.fixture(scope="session")
def golden_sam() -> State:
    """Numbers of the published FedMSA implementation on small random inputs."""
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="session")
def drawn() -> Callable[..., State]:
    """A state of a module's names and shapes, with values that are neither zero nor those of its start."""

    def draw(module: nn.Module, seed: int = 3) -> State:
        random = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(value.shape, generator=random) * (value.shape[-1] if value.ndim > 1 else 4) ** -0.5
            for name, value in module.state_dict().items()
        }

    return draw


@pytest.fixture(scope="session")
def sam_file(small_sam: dict[str, Any], drawn: Callable[..., State], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as segment_anything publishes them, of the small SAM, every tensor drawn."""
    path = tmp_path_factory.mktemp("weights") / "sam_small.pth"
    torch.save(drawn(shared_sam(small_sam, 64)), path)
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
