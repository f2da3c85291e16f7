"""The collection of docstrings' examples as tests, beside the tests themselves."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Ignores modules without an example: importing all of them takes time, and some need an optional extra."""
    if collection_path.suffix != ".py" or collection_path.name.startswith("test_"):
        return None
    return None if ">>> " in collection_path.read_text(encoding="utf-8") else True


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector:
    """Collects a package as a plain folder: pytest asks a package for names that the faces refuse."""
    folder: pytest.Collector = pytest.Dir.from_parent(parent, path=path)
    return folder
