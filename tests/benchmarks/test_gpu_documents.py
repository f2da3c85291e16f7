"""The documents agree with the newest run on a GPU, and say so where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.documents import DOCUMENTS, ROWS, newest, section, updated
from benchmarks.gpu.order import PARTS
from benchmarks.gpu.results import ROOT

RUNS = ROOT / "docs" / "results" / "gpu"

FIGURES: dict[str, dict[str, Any]] = {
    "machine": {"device": "NVIDIA H200", "torch": "2.11.0"},
    "steps_vit_b": {"bfloat16_times_faster": 4.2, "bfloat16_seconds": 0.21, "bfloat16_share_of_memory": 0.19,
                    "ours_times_faster": 1.5, "ours_share_of_memory": 0.4},
    "loading_speed": {"CT, uncompressed": {"times_faster": 7.5}, "CT, JPEG-LS": {"times_faster": 9.1},
                      "NIfTI, gzip": {"times_faster": 5.5}},
}  # fmt: skip


def run_of(date: str, gpu: bool = True) -> dict[str, Any]:
    """The content of a gpu.json: some parts passed, one was over its time, the others were not run."""
    passed = {"status": "passed", "reason": "", "seconds": 1.0}
    parts: dict[str, Any] = {name: {**passed, "figures": found} for name, found in FIGURES.items()}
    parts["encoding"] = {"status": "over time", "reason": "not done after 45 s", "seconds": 45.0, "figures": {}}
    return {"date": date, "commit": "abc1234", "gpu": gpu, "system": "Linux x86_64, 16 cores", "parts": parts}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_those_of_the_newest_run(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert updated(text, newest(RUNS), DOCUMENTS[name]) == text, "expected `python -m benchmarks.gpu.documents`"


def test_without_a_run_on_a_gpu_they_say_so(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    (tmp_path / "cpu.json").write_text(json.dumps(run_of("2027-01-01", gpu=False)))
    assert newest(tmp_path) is None
    assert "No part of the project has been run on a GPU yet" in section(None, every_part=False)


def test_figures_carry_date_machine_and_what_was_not_measured(tmp_path: Path) -> None:
    for date in ("2026-12-05", "2026-12-07", "2026-12-06"):
        (tmp_path / f"{date}.json").write_text(json.dumps(run_of(date)))
    text = section(newest(tmp_path), every_part=True)
    place = "Linux x86_64, 16 cores, torch 2.11.0, commit abc1234"
    assert text.startswith(f"Measured on 2026-12-07 with one NVIDIA H200 ({place}):")
    assert "4.2 times faster (0.21 s), 0.19 of the memory |" in text and "7.5 times faster, JPEG-LS 9.1 times |" in text
    assert "| over time: not done after 45 s |" in text and "| not run |" in text
    assert "| encoding | over time, 45.0 s | not done after 45 s |" in text


def test_rows_name_parts_that_exist() -> None:
    assert {name for _, name, _ in ROWS} <= {part.name for part in PARTS}
