"""Reads configuration files as MONAI does. Every error names the file, which MONAI's own errors do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser


def read_configuration(file: str | Path) -> dict[str, Any]:
    """Reads a configuration file of MONAI, which is JSON or YAML.

    Raises
    ------
    ValueError
        The file cannot be read, or holds no entries by name; the message names it.
    """
    try:
        content = ConfigParser.load_config_file(file)
    except FileNotFoundError:
        raise
    except Exception as error:  # the parsers of JSON and YAML raise a dozen kinds
        raise ValueError(f"{file}: expected a configuration, found {type(error).__name__}: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{file}: expected a configuration, found a {type(content).__name__} in place of entries")
    return dict(content)
