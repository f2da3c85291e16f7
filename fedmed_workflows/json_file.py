"""Reads the JSON files of runs and users. Every error names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(file: Path, expected: str) -> Any:
    """Reads a file of JSON.

    Parameters
    ----------
    file
        The file, in UTF-8.
    expected
        The expected content, to end the sentence "expected ...".

    Raises
    ------
    ValueError
        The file cannot be read, is no JSON, or is nested too deep for the parser; the message names it.
    """
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: expected {expected}, found {type(error).__name__}: {error}") from error


def read_entries(file: Path, expected: str) -> dict[str, Any]:
    """Reads a file of JSON with entries by name.

    Raises
    ------
    ValueError
        As of :func:`read_json`, or the file holds something else than entries by name.
    """
    content = read_json(file, expected)
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected {expected}, found a {type(content).__name__} in place of entries by name")
    return content
