"""Killed at any moment and started again with the same command, a run ends with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import create_workflow

ROUNDS = 12

pytestmark = pytest.mark.processes


def command(federated: dict[str, Any], folder: Path, output_dir: Path) -> list[str]:
    """The bundle's command line, with the test's entries as a configuration overlay."""
    overlay = folder / "overlay.json"
    entries = {**federated, "output_dir": str(output_dir), "rounds": ROUNDS, "cache_dir": str(folder / "features")}
    base = entries.pop("config_file")
    overlay.write_text(json.dumps(entries))
    return [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"['{base}', '{overlay}']"]


def kill_when(process: subprocess.Popen[bytes], path: Path) -> bool:
    """Kills a process (SIGKILL) as soon as a file exists; whether it was still running then."""
    while process.poll() is None and not path.exists():
        time.sleep(0.001)
    running = process.poll() is None
    if running:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return running


def aggregates(output_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((output_dir / "checkpoints").glob("round_*.safetensors"))}


@pytest.fixture
def uninterrupted(federated: dict[str, Any], tmp_path: Path) -> Path:
    entries = {**federated, "output_dir": str(tmp_path / "whole"), "rounds": ROUNDS}
    create_workflow(**entries, cache_dir=str(tmp_path / "features")).run()
    return tmp_path / "whole"


def test_killed_twice_and_started_again_it_ends_with_the_same_bits(
    federated: dict[str, Any], tmp_path: Path, uninterrupted: Path
) -> None:
    again = command(federated, tmp_path, tmp_path / "broken")
    moments = [
        tmp_path / "broken" / "sites" / "site_a" / "round_00002.pt",  # one site has trained round 2, the other not
        tmp_path / "broken" / "checkpoints" / "round_00007.safetensors",  # the aggregate is there, not yet committed
    ]
    for moment in moments:
        with subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            assert kill_when(process, moment), f"the run had ended before {moment.name}"
        last = json.loads((tmp_path / "broken" / "checkpoints" / "last.json").read_text())
        assert len(last["history"]) <= ROUNDS
    subprocess.run(again, check=True, capture_output=True)
    assert aggregates(tmp_path / "broken") == aggregates(uninterrupted)
    assert f"round_{ROUNDS:05d}.safetensors" in aggregates(uninterrupted)
    scores = [
        json.loads((folder / "metrics.json").read_text())["final"] for folder in (uninterrupted, tmp_path / "broken")
    ]
    assert scores[0] == scores[1]
    model = [(folder / "model.pt").read_bytes() for folder in (uninterrupted, tmp_path / "broken")]
    assert model[0] == model[1]
