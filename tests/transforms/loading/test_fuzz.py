"""Thousands of damaged files: each loads or is refused by an error that names it, soon, and in little memory.

They are loaded in a process of their own, where a decoder that crashes, hangs or takes memory is seen and does no harm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import fedmed_transforms

SCRIPT = Path(__file__).with_name("fuzzing.py")
KINDS = {
    "of DICOM": ("native", "rle", "jpeg", "jpegls", "jpeg2000", "deflated"),
    "of other files": ("nii", "nii.gz", "png", "jpg", "bmp", "zip", "dicomdir"),
}
EACH = 120
SECONDS = 3.0
"""That a damaged file may take."""

HELD = 100 * 2**20
"""Bytes by which the most memory may grow for a damaged file of some kilobytes."""

BOMBS_HELD = 3 * 2**29
"""Bytes by which it may grow for a file made to inflate without end."""


def run(*arguments: str) -> list[list[Any]]:
    """Lines that the script printed; it fails with the last file it looked at where it did not come to its end."""
    root = str(Path(fedmed_transforms.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        timeout=300,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"ended by {done.returncode} after {lines[-1:]}: {done.stderr[-3000:]}"
    return lines


@pytest.mark.parametrize("group", KINDS)
def test_damaged_files_load_or_are_refused(tmp_path: Path, group: str) -> None:
    lines = run(",".join(KINDS[group]), str(EACH), str(tmp_path))
    assert [line for line in lines if line[2] not in ("loaded", "refused")] == []
    assert [line for line in lines if line[3] > SECONDS or line[4] > HELD] == []
    found = Counter((kind, outcome) for kind, _, outcome, _, _ in lines)
    assert all(found[kind, outcome] >= 3 for kind in KINDS[group] for outcome in ("loaded", "refused")), found


def test_files_that_claim_or_inflate_to_gigabytes_are_refused(tmp_path: Path) -> None:
    lines = run("bombs", "0", str(tmp_path))
    assert {line[1] for line in lines} == {
        *("gzip.nii.gz", "offset.nii.gz", "deflated.dcm", "members.zip", "sides.nii", "sides.nii.gz"),
        *("native.dcm", "rle.dcm", "jpeg.dcm", "jpegls.dcm", "jpeg2000.dcm"),
    }
    assert [line for line in lines if line[2] != "refused"] == []
    assert [line for line in lines if line[4] > BOMBS_HELD] == []
