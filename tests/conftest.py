"""The bundle, a small CLIP, the golden numbers, a GPU; and which tests need the marker `processes`."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.devices.pretended import pretended_gpu
from tests.orthanc_server import OrthancServer
from tests.started_programs import needs_processes, started

ROOT = Path(__file__).parents[1]
FIRST = pytest.StashKey[int]()
"""The number of programs that were started before a test."""


# A copy of a process has none of the threads in which torch computes, and would wait for them forever.
os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use a fixture which starts processes."""
    for item in items:
        if "processes" in getattr(item, "fixturenames", ()):
            item.add_marker("processes")


def pytest_collection_finish() -> None:
    """Leaves all that was imported out of Python's collections of garbage, a fifth of the tests' time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Frees the imported packages in order."""
    gc.unfreeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Notes the programs started so far."""
    item.stash[FIRST] = len(started)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Refuses a server, or several interpreters, in a test that has no marker `processes`.

    Fixtures of other tests may end after it: their programs do not count.
    """
    commands = started[item.stash[FIRST] :]
    if needs_processes(commands) and item.get_closest_marker("processes") is None:
        pytest.fail(f"expected the marker 'processes' at a test that starts {commands}")


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


@pytest.fixture(scope="session")
def sites_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites and an unseen one: 12 pictures of dots and 12 of stripes each, brighter from site to site."""
    root = tmp_path_factory.mktemp("sites")
    random = np.random.default_rng(0)
    for brightness, site in enumerate(("site_a", "site_b", "unseen")):
        for name in ("dots", "stripes"):
            (root / site / name).mkdir(parents=True)
            for index in range(12):
                picture = random.integers(0, 60, (16, 16)) + 20 * brightness
                picture[(slice(None, None, 3), slice(None)) if name == "stripes" else (slice(4, 9), slice(3, 8))] += 120
                Image.fromarray(picture.astype(np.uint8)).save(root / site / name / f"{index}.png")
    return root


@pytest.fixture
def federated(bundle_root: Path, sites_dir: Path, small_clip: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Entries of the bundle's federated.json for a run of three rounds that takes a second."""
    return {
        "config_file": str(bundle_root / "configs" / "federated.json"),
        "bundle_root": str(bundle_root),
        "dataset_dir": str(sites_dir),
        "unseen_site": "unseen",
        "output_dir": str(tmp_path / "run"),
        "rounds": 3,
        "device": "cpu",
        "facmic": {
            "target": "unseen", "clip": small_clip, "weights": None, "image_size": 16, "learning_rate": 1e-3,
            "batch_size": 8,
        },
    }  # fmt: skip


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    """A GPU; on a machine without one, a pretended one that refuses as CUDA does."""
    if torch.cuda.is_available():
        yield torch.device("cuda", 0)
    else:
        with pretended_gpu() as device:
            yield device


@pytest.fixture(scope="session")
def processes() -> None:
    """Requested by each fixture that starts a server or several interpreters: the tests that use it get the marker."""


@pytest.fixture(scope="session")
def archive(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    with OrthancServer(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(archive: OrthancServer) -> OrthancServer:
    """An archive that is empty."""
    archive.clear()
    return archive
