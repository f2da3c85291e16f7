"""Checks a DICOM object against the standard's definition of its kind, by David Clunie's dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def errors_in(path: Path, kind: str) -> list[str]:
    """The errors, not the warnings, of an object of a kind, which is named as dciodvfy names it (``EnhancedSR``)."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.fail("dciodvfy is not there; it is in Debian's package dicom3tools")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert kind in lines, f"expected an object of the kind {kind}, found {lines}"
    return [line for line in lines if line.startswith("Error")]
