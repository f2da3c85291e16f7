"""Writes folders of phantoms completely or not at all, and recognizes them by the parameters of their writing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from fedmed_transforms.whole_file import is_new_or_empty, whole_folder

MARKER = ".phantoms"
"""Hidden file in the folder with the parameters of its phantoms."""


def write_phantoms(folder: str | Path, parameters: Mapping[str, int], write: Callable[[Path], None]) -> Path:
    """Fills a folder completely or not at all; a folder that already holds the phantoms stays unchanged.

    Parameters
    ----------
    folder
        The folder to write: missing, empty, or filled by this function with the same parameters.
    parameters
        All parameters of the phantoms by name, including a version of the code that writes them.
    write
        Function that fills an empty folder.

    Raises
    ------
    ValueError
        The folder holds something else; the message names the folder.
    """
    folder, text = Path(folder), json.dumps(dict(parameters))
    if not _holds(folder, text):
        with whole_folder(folder) as unfinished:
            write(unfinished)
            (unfinished / MARKER).write_text(text)
    return folder


def _holds(folder: Path, parameters: str) -> bool:
    """Checks whether the folder already holds these phantoms; refuses a folder with any other content."""
    if is_new_or_empty(folder):
        return False
    marker = folder / MARKER
    found = f"phantoms of {marker.read_text()}" if marker.is_file() else "something else"
    if found != f"phantoms of {parameters}":
        raise ValueError(f"{folder}: expected a new or an empty folder or phantoms of {parameters}, found {found}")
    return True


def write_by_command(program: str, description: str, write: Callable[..., Path], **defaults: int) -> Path:
    """Writes phantoms with the options of the command line.

    Parameters
    ----------
    program, description
        The name and the description in the command's help.
    write
        Function that takes the folder, and the parameters by keyword.
    **defaults
        The default of each parameter; each parameter becomes an option.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("folder", type=Path)
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    options = parser.parse_args()
    try:
        return write(**vars(options))
    except ValueError as error:
        parser.error(str(error))
