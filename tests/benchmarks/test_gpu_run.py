"""The program for a GPU, with the CPU in the GPU's place: every part is in the JSON, whatever the other parts do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.order import PARTS, SECONDS
from benchmarks.gpu.part import Part
from benchmarks.gpu.results import ROOT
from benchmarks.gpu.runner import run_parts

GPU_ONLY = {"tensorrt", "nvimagecodec", "compiled", "flex"}
"""Parts that have nothing to run without a GPU."""

PLANTED = {
    "failing": ("failed", "AssertionError: found other bits", {"before": 2}),
    "hanging": ("over time", "not done after 2 s", {"before": 3}),
    "dying": ("failed", "its process ended without an answer", {}),
    "skipping": ("skipped", "no library of this name", {}),
    "using_a_gpu": ("skipped", "no GPU", {}),
    "passing": ("passed", "", {"device": "cpu", "figure": 1.5}),
}
"""How each planted part ends: its status, its reason and its figures."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program leaves, run as its users run it."""
    folder = tmp_path_factory.mktemp("gpu")
    command = ["make", "gpu", f"GPU_PYTHON={sys.executable}", "GPU_WHEELS=none", f"GPU_RESULTS={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    log = (folder / "gpu.log").read_text(errors="replace")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:] + log[-5000:]
    content: dict[str, Any] = json.loads((folder / "gpu.json").read_text())
    return content


@pytest.mark.processes
def test_every_part_passes_or_says_why_it_is_skipped(results: dict[str, Any]) -> None:
    assert results["gpu"] is False and list(results["parts"]) == [part.name for part in PARTS]
    for name, part in results["parts"].items():
        expected = ("skipped", "no GPU") if name in GPU_ONLY else ("passed", "")
        assert (part["status"], part["reason"]) == expected, name
        assert bool(part["figures"]) is (name not in GPU_ONLY), name


@pytest.mark.processes
def test_the_comparisons_compare(results: dict[str, Any]) -> None:
    """The CPU in the GPU's place rounds otherwise, so that a comparison of an array with itself would be noticed."""
    figures = {name: part["figures"] for name, part in results["parts"].items()}
    assert figures["loading"]["images"] == figures["loading"]["of_equal_bits"] > 30
    assert all(0 < method["update"] < 1e-4 for method in figures["rounds"].values()) and len(figures["rounds"]) == 6
    assert 0 < figures["precision"]["relative_loss_difference"] < 0.05
    assert 0 < figures["attention"]["window, float32"] < figures["attention"]["window, bfloat16"] < 0.05
    assert figures["resume"] == {"FACMIC, asked for equal bits": "equal bits"}


@pytest.mark.processes
def test_a_part_that_fails_hangs_or_dies_leaves_the_others(tmp_path: Path) -> None:
    parts = [Part(name, f"tests.benchmarks.planted_parts:{name}", 2 if name == "hanging" else 60) for name in PLANTED]
    started = time.monotonic()
    found = run_parts(parts, tmp_path, 300)
    assert not found.good and time.monotonic() - started < 200
    written = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: (part["status"], part["reason"], part["figures"]) for name, part in written.items()} == PLANTED
    assert "found other bits" in (tmp_path / "gpu.log").read_text()


@pytest.mark.processes
def test_parts_after_the_end_of_the_run_are_skipped(tmp_path: Path) -> None:
    found = run_parts([Part("late", "tests.benchmarks.planted_parts:passing", 9)], tmp_path, 0.5)
    assert found.parts["late"]["status"] == "skipped" and "were over" in found.parts["late"]["reason"]


def test_the_limits_fit_into_the_run() -> None:
    assert sum(part.seconds for part in PARTS) <= SECONDS - 30  # and the imports
