"""Folders of phantoms: written whole or not at all, and known again by the parameters that they were written with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from fedmed_transforms.whole_file import is_new_or_empty, whole_folder

MARKER = ".phantoms"
"""Hidden file in the folder: the parameters that its phantoms were written with."""


def write_phantoms(folder: str | Path, parameters: Mapping[str, int], write: Callable[[Path], None]) -> Path:
    """Fills a folder, all or nothing; one that holds the phantoms already is left as it is.

    Parameters
    ----------
    folder
        Where to write: missing, empty, or filled by this function with the same parameters.
    parameters
        By name, all that the phantoms depend on, a version of what writes them included.
    write
        Fills the empty folder that it is given.

    Raises
    ------
    ValueError
        The folder holds something else; the message names it.
    """
    folder, text = Path(folder), json.dumps(dict(parameters))
    if not _holds(folder, text):
        with whole_folder(folder) as unfinished:
            write(unfinished)
            (unfinished / MARKER).write_text(text)
    return folder


def _holds(folder: Path, parameters: str) -> bool:
    """Whether the folder holds these phantoms already; refuses one that holds anything else."""
    if is_new_or_empty(folder):
        return False
    marker = folder / MARKER
    found = f"phantoms of {marker.read_text()}" if marker.is_file() else "something else"
    if found != f"phantoms of {parameters}":
        raise ValueError(f"{folder}: expected a new or an empty folder or phantoms of {parameters}, found {found}")
    return True


def write_by_command(program: str, description: str, write: Callable[..., Path], **defaults: int) -> Path:
    """Writes phantoms as the command line says.

    Parameters
    ----------
    program, description
        For the command's help.
    write
        Takes the folder, and the parameters by keyword.
    **defaults
        Of each parameter, which becomes an option.
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
