"""The demo's two commands, as the Makefile has them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 180
CHANCE = 0.25


def commands() -> list[list[str]]:
    """The demo's commands out of the Makefile, with its variables filled in."""
    text = (ROOT / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) *\??= *(.+)$", text, flags=re.MULTILINE))
    recipe = re.search(r"^demo:.*\n((?:\t.+\n)+)", text, flags=re.MULTILINE)
    assert recipe is not None
    lines = [re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], line.strip()) for line in recipe[1].splitlines()]
    return [shlex.split(line) for line in lines if not line.startswith("@")]


def test_the_demo_learns_within_its_time_and_its_report_shows_before_and_after(tmp_path: Path) -> None:
    (tmp_path / "bundles").symlink_to(ROOT / "bundles")
    start = time.monotonic()
    for command in commands():
        assert command[0] == ".venv/bin/python"
        subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True, capture_output=True)
    seconds = time.monotonic() - start
    result = json.loads((tmp_path / "runs" / "demo" / "metrics.json").read_text())
    before, after = (result[stage]["unseen"]["metrics"]["balanced_accuracy"]["value"] for stage in ("initial", "final"))
    print(f"demo: unseen balanced accuracy {before:.3f} before round 1, {after:.3f} after the last, {seconds:.0f} s")
    assert sum(site["role"] == "training" for site in result["sites"]) == 3
    assert after > 0.8 and after > before + 0.4 and before < CHANCE + 0.2
    report = (tmp_path / "runs" / "demo" / "report.html").read_text()
    assert f"{before:.3f}" in report and f"{after:.3f}" in report
    assert {path.suffix for path in (tmp_path / "runs" / "demo_data").rglob("*") if path.is_file()} - {""} == {".dcm"}
    assert seconds < SECONDS
