"""No public case is forgotten: the tests of this folder name each one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.mark.skipif("FEDMED_DATA" not in os.environ, reason="FEDMED_DATA names no folder")
def test_every_public_case_has_a_test() -> None:
    texts = [file.read_text() for file in Path(__file__).parent.glob("*.py")]
    cases = [folder.name for folder in (Path(os.environ["FEDMED_DATA"]) / "cases").iterdir() if folder.is_dir()]
    assert cases and [name for name in cases if not any(name in text for text in texts)] == []
