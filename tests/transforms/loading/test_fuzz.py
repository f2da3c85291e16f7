"""A short fuzz campaign: each damaged file loads or is refused by an error that names it, in little time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.transforms.loading import campaign
from tests.transforms.loading.campaign import BOMBS, KINDS, Loaded, load_apart
from tests.transforms.loading.fuzzed_records import RECORDS
from tests.transforms.loading.fuzzing import DICOM

ROOT = Path(__file__).parents[3]
EACH = 120


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[Loaded]:
    """The outcome of each file, in a process that has loaded nothing before."""
    folder = tmp_path_factory.mktemp("fuzz")
    command = [sys.executable, "-m", "tests.transforms.loading.campaign", str(EACH * len(KINDS)), "0", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = [Loaded(*json.loads(line)) for line in (folder / "outcomes.jsonl").read_text().splitlines()]
    assert done.returncode == int(any(found.failed for found in lines)), done.stderr[-3000:]
    return lines


OTHERS = tuple(kind for kind in KINDS if kind not in DICOM and kind not in RECORDS)


@pytest.mark.parametrize("kind", RECORDS)
def test_the_undamaged_file_of_a_record_loads(kind: str, tmp_path: Path) -> None:
    path = tmp_path / RECORDS[kind].name
    path.write_bytes(RECORDS[kind].whole())
    assert campaign.outcome(path, RECORDS[kind].read) == "loaded"


@pytest.mark.parametrize("kinds", [tuple(DICOM), OTHERS, tuple(RECORDS)], ids=["of DICOM", "of other files", "records"])
def test_damaged_files_load_or_are_refused(loaded: list[Loaded], kinds: tuple[str, ...]) -> None:
    files = [found for found in loaded if found.kind in kinds]
    assert Counter(found.kind for found in files) == dict.fromkeys(kinds, EACH)
    assert [found for found in files if found.failed] == []
    outcomes = Counter((found.kind, found.outcome) for found in files)
    assert all(outcomes[kind, outcome] >= 3 for kind in kinds for outcome in ("loaded", "refused")), outcomes


def test_files_that_claim_or_inflate_to_gigabytes_are_refused(loaded: list[Loaded]) -> None:
    bombs = [found for found in loaded if found.kind == BOMBS]
    assert {found.number for found in bombs} == {
        *("gzip.nii.gz", "offset.nii.gz", "deflated.dcm", "members.zip", "sides.nii", "sides.nii.gz"),
        *("native.dcm", "rle.dcm", "jpeg.dcm", "jpegls.dcm", "jpeg2000.dcm"),
    }
    assert [found for found in bombs if found.outcome != "refused" or found.failed] == []


def test_a_file_that_ends_its_process_fails_and_the_next_ones_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash_at_the_second(path: Path, **rules: object) -> str:
        return "loaded" if path.read_bytes() != second else os._exit(3)

    second = campaign.make("nii", campaign.random.Random("nii 1"), tmp_path).read_bytes()
    monkeypatch.setattr(campaign, "outcome", crash_at_the_second)
    found = list(load_apart("nii", [0, 1, 2], tmp_path))
    assert [(file.number, file.outcome, file.failed) for file in found] == [
        (0, "loaded", False), (1, "its process ended with the status 3", True), (2, "loaded", False),
    ]  # fmt: skip
