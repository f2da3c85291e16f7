"""The results of a run as JSON: when, where, and of each part how it ended and its figures."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

STATUSES = ("passed", "failed", "skipped", "over time")

ROOT = Path(__file__).parents[2]


class Results:
    """Results that are on the disk after every change.

    Parameters
    ----------
    file
        The JSON file.
    gpu
        Whether the run has a GPU.
    """

    def __init__(self, file: Path, gpu: bool) -> None:
        self.file = file
        self.content: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "commit": commit(),
            "gpu": gpu,
            "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "parts": {},
        }
        self._write()

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """How each part ended: ``status`` (one of :data:`STATUSES`), ``reason``, ``seconds``, ``figures``."""
        parts: dict[str, dict[str, Any]] = self.content["parts"]
        return parts

    def add(self, name: str, figures: dict[str, Any]) -> None:
        """Adds figures of a part that runs."""
        self._part(name)["figures"].update(figures)
        self._write()

    def end(self, name: str, status: str, reason: str, seconds: float) -> None:
        """Notes how a part ended."""
        self._part(name).update(status=status, reason=reason, seconds=round(seconds, 1))
        self._write()

    def line(self, name: str) -> str:
        """Returns a line for people."""
        part = self.parts[name]
        return f"{name:18} {part['status']:9} {part['seconds']:6.1f} s  {part['reason']}"

    @property
    def good(self) -> bool:
        """Whether no part failed or was over its time."""
        return all(part["status"] in ("passed", "skipped") for part in self.parts.values())

    def _part(self, name: str) -> dict[str, Any]:
        begun = {"status": "over time", "reason": "the run ended in this part", "seconds": 0.0, "figures": {}}
        return self.parts.setdefault(name, begun)

    def _write(self) -> None:
        temporary = self.file.with_suffix(".part")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(temporary, self.file)


def commit() -> str:
    """Returns the commit of the source; of a source archive, the one that its file ``.commit`` states."""
    noted = ROOT / ".gpu-wheels" / "commit"
    try:
        command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return noted.read_text().strip() if noted.is_file() else "unknown"
