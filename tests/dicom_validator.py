"""Checks a DICOM object against the standard's definition of its kind, by David Clunie's dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def errors_in(path: Path, kind: str) -> list[str]:
    """The errors, not the warnings, of an object of a kind, which is named as dciodvfy names it (``EnhancedSR``)."""
    lines = _lines(path)
    assert kind in lines, f"expected an object of the kind {kind}, found {lines}"
    return [line for line in lines if line.startswith("Error")]


def errors_without_values(path: Path) -> set[str]:
    """The errors of an object of any kind, without the values that they quote."""
    return {line.split(" for value")[0] for line in _lines(path) if line.startswith("Error")}


def _lines(path: Path) -> list[str]:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.fail("dciodvfy is not there; it is in Debian's package dicom3tools")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, errors="replace", check=False)
    return (done.stdout + done.stderr).splitlines()
