"""Patterns for the methods of a comparison: every overlay in a folder is a method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path

from fedmed_workflows.comparison.settings import ANY, check_methods
from fedmed_workflows.federation.bundle.config import existing_files


def expand_methods(methods: Mapping[str, Sequence[str]], bundle_root: str) -> dict[str, list[str]]:
    """Replaces each pattern by the overlays that it finds, sorted by their names; other methods stay as they are.

    Parameters
    ----------
    methods
        By the name of a method its configuration files, the federation's first. A name with ``*`` is a pattern, and
        its last file has ``*`` too, such as ``configs/methods/*.json``: for each file that this finds in the folder of
        the federation's bundle, or by a path, there is a method, whose name has the file's name for ``*``.
    bundle_root
        The bundle's folder of the comparison.

    Raises
    ------
    ValueError
        A pattern finds no file, a method that is named already, or a file whose name can't be a method's; the message
        names the method.
    """
    expanded: dict[str, list[str]] = {}
    for name, files in methods.items():
        for found, own in _found(name, list(files), bundle_root):
            if found in expanded:
                other = expanded[found][-1]
                raise ValueError(f"methods: found {found!r} twice, {other} and {own[-1]}, expected different names")
            expanded[found] = own
    check_methods(expanded)  # names of files too must be names of folders
    return expanded


def _found(name: str, files: list[str], bundle_root: str) -> Iterator[tuple[str, list[str]]]:
    if ANY not in name:
        yield name, files
        return
    *before, pattern = files
    root = Path(existing_files(bundle_root, before[:1])[0]).parent.parent if before else Path(bundle_root)
    overlays = sorted(glob(pattern, root_dir=root) or glob(pattern))
    if not overlays:
        raise ValueError(f"methods: {name!r}: {root / pattern}: found no such file, expected overlays of methods")
    for overlay in overlays:
        yield name.replace(ANY, Path(overlay).stem), [*before, Path(overlay).as_posix()]
