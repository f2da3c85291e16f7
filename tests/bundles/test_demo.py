"""The demo's commands, as the Makefile has them: a classification and a segmentation."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHANCE = 0.25

pytestmark = pytest.mark.processes


def commands() -> list[list[str]]:
    """The demo's commands out of the Makefile, with its variables filled in."""
    text = (ROOT / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) *\??= *(.+)$", text, flags=re.MULTILINE))
    recipe = re.search(r"^demo:.*\n((?:\t.+\n)+)", text, flags=re.MULTILINE)
    assert recipe is not None
    lines = [re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], line.strip()) for line in recipe[1].splitlines()]
    return [shlex.split(line) for line in lines if not line.startswith("@")]


def interpret(module: str, arguments: list[str], folder: Path) -> int:
    """Runs a command in an interpreter of its own; returns the exit status."""
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True).returncode


def demonstrate(
    folder: Path, part: list[list[str]], run: Callable[..., int | None], name: str, metric: str
) -> tuple[float, float]:
    """Runs a part of the demo; the unseen site's score before and after, which its report shows."""
    (folder / "bundles").symlink_to(ROOT / "bundles")
    for python, option, module, *arguments in part:
        assert (python, option) == (".venv/bin/python", "-m")
        assert run(module, arguments, folder) == 0
    result = json.loads((folder / "runs" / name / "metrics.json").read_text())
    before, after = (result[stage]["unseen"]["metrics"][metric]["value"] for stage in ("initial", "final"))
    print(f"{name}: unseen {metric} {before:.3f} before round 1, {after:.3f} after the last")
    assert sum(site["role"] == "training" for site in result["sites"]) == 3
    report = (folder / "runs" / name / "report.html").read_text()
    assert f"{before:.3f}" in report and f"{after:.3f}" in report
    return before, after


def test_the_classification_learns(tmp_path: Path) -> None:
    before, after = demonstrate(tmp_path, commands()[:2], interpret, "demo", "balanced_accuracy")
    assert after > 0.8 and after > before + 0.4 and before < CHANCE + 0.2
    assert {path.suffix for path in (tmp_path / "runs" / "demo_data").rglob("*") if path.is_file()} - {""} == {".dcm"}


def test_the_segmentation_learns(tmp_path: Path) -> None:
    before, after = demonstrate(tmp_path, commands()[2:], interpret, "segmentation_demo", "dice")
    assert after > 0.8 and before < 0.3
    data = tmp_path / "runs" / "segmentation_demo_data"
    assert {path.suffix for path in data.rglob("*") if path.is_file()} >= {".dcm", ".gz", ".png"}
